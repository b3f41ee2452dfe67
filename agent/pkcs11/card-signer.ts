/** Signing with a key on a card, by whichever loaded provider has it at hand. */
import { Failure } from "../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";
import { isPinMissing } from "./pin-failures.ts";
import type { Provider, UserInteraction } from "./provider.ts";
import type { ProviderRegistry } from "./registry.ts";

/** Refusals after which another provider of the same key may do better. */
const passedOn: ReadonlySet<string> = new Set([
  "token-removed",
  "no-token",
  "not-loaded",
  "key-not-found",
  "module-crashed",
  "module-timeout",
  "pin-locked",
  "unsupported",
]);

/** A key on a card. It stays the same when providers are loaded again or others come to have it. */
export class CardSigner {
  readonly #providers: ProviderRegistry;
  readonly #keyBlob: Buffer;
  readonly #path: string;

  /**
   * @param keyBlob the plain key blob
   * @param path the provider that it is listed for
   */
  constructor(providers: ProviderRegistry, keyBlob: Buffer, path: string) {
    this.#providers = providers;
    this.#keyBlob = keyBlob;
    this.#path = path;
  }

  /**
   * Signs. Several providers that have the key are asked in turn, and only when none of them can
   * sign without it is somebody asked for a PIN.
   * @param data what is signed, which must not change meanwhile
   * @returns the signature blob
   * @throws {Failure} as `Provider.sign`: of several refusals, the one that tells what to do
   */
  async sign(
    algorithm: SignatureAlgorithm,
    data: Buffer,
    holder: UserInteraction,
  ): Promise<Buffer> {
    const [first, ...others] = this.#serving();
    if (first === undefined) throw new Failure("not-loaded", `${this.#path} is not loaded.`);
    if (others.length === 0) return this.#signBy(first, algorithm, data, holder);
    let refusal: Failure | undefined;
    let asking: Provider | undefined;
    const patient = { ...holder, askPin: undefined };
    for (const provider of [first, ...others]) {
      try {
        return await this.#signBy(provider, algorithm, data, patient);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (isPinMissing(error) && provider.takesPin(this.#keyBlob)) asking ??= provider;
        else if (!passedOn.has(error.code)) throw error;
        refusal ??= error;
      }
    }
    if (asking !== undefined) return this.#signBy(asking, algorithm, data, holder);
    throw refusal ?? new Failure("not-loaded", `${this.#path} is not loaded.`);
  }

  /** Signs by a provider, or by the one that takes its place meanwhile. */
  async #signBy(
    provider: Provider,
    algorithm: SignatureAlgorithm,
    data: Buffer,
    holder: UserInteraction,
  ): Promise<Buffer> {
    try {
      return await provider.sign(this.#keyBlob, algorithm, data, holder);
    } catch (error) {
      const next = this.#providers.get(provider.path);
      const isExchanged = error instanceof Failure && error.code === "not-loaded";
      if (!isExchanged || next === provider || !next?.has(this.#keyBlob)) throw error;
      return next.sign(this.#keyBlob, algorithm, data, holder);
    }
  }

  /**
   * The providers that have the key. The one that was loaded last is the first: it was given the PIN
   * last, and another one that looks for its card may take the login away from it.
   */
  #serving(): readonly Provider[] {
    return this.#providers.lastLoadedFirst().filter((provider) => provider.has(this.#keyBlob));
  }
}
