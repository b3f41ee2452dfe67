/** Signing with a key on a card, by whichever loaded provider has it at hand. */
import { Failure } from "../../protocol/failure.ts";
import type { PublicKey } from "../../protocol/public-key.ts";
import { type SignatureAlgorithm, signatureAlgorithm } from "../../protocol/signature.ts";
import type { Signer, SignRequest, UserInteraction } from "../signer.ts";
import { PinRequired } from "./messages.ts";
import type { Provider } from "./provider.ts";
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
export class CardSigner implements Signer {
  readonly #providers: ProviderRegistry;
  readonly #key: PublicKey;
  readonly #keyBlob: Buffer;
  readonly #path: string;

  /**
   * @param keyBlob the plain key blob
   * @param path the provider that it is listed for
   */
  constructor(providers: ProviderRegistry, key: PublicKey, keyBlob: Buffer, path: string) {
    this.#providers = providers;
    this.#key = key;
    this.#keyBlob = keyBlob;
    this.#path = path;
  }

  /**
   * Signs. Several providers that have the key are asked in turn, and only when none of them can
   * sign without it is somebody asked for a PIN.
   * @throws {Failure} as `Provider.sign`: of several refusals, the one that tells what to do
   */
  async sign({ data, flags }: SignRequest, interaction: UserInteraction): Promise<Buffer> {
    const algorithm = signatureAlgorithm(this.#key, flags);
    const [first, ...others] = this.#serving();
    if (first === undefined) throw new Failure("not-loaded", `${this.#path} is not loaded.`);
    if (others.length === 0) return this.#signBy(first, algorithm, data, interaction);
    let refusal: Failure | undefined;
    let asking: Provider | undefined;
    const { gone, keyName, purpose, pinBackoff, notify } = interaction;
    const patient = { gone, keyName, purpose, pinBackoff, notify, askPin: undefined };
    for (const provider of [first, ...others]) {
      try {
        return await this.#signBy(provider, algorithm, data, patient);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (error instanceof PinRequired && provider.takesPin(this.#keyBlob)) asking ??= provider;
        else if (!passedOn.has(error.code)) throw error;
        refusal ??= error;
      }
    }
    if (asking !== undefined) return this.#signBy(asking, algorithm, data, interaction);
    throw refusal ?? new Failure("not-loaded", `${this.#path} is not loaded.`);
  }

  /** Signs by a provider, or by the one that takes its place meanwhile. */
  async #signBy(
    provider: Provider,
    algorithm: SignatureAlgorithm,
    data: Buffer,
    interaction: UserInteraction,
  ): Promise<Buffer> {
    try {
      return await provider.sign(this.#keyBlob, algorithm, data, interaction);
    } catch (error) {
      const next = this.#providers.get(provider.path);
      const isExchanged = error instanceof Failure && error.code === "not-loaded";
      if (!isExchanged || next === provider || !next?.has(this.#keyBlob)) throw error;
      return next.sign(this.#keyBlob, algorithm, data, interaction);
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
