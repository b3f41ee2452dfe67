/** Signing with a key on a card, by any loaded provider that has the key. */
import { Failure } from "../../protocol/failure.ts";
import type { PublicKey } from "../../protocol/public-key.ts";
import { type SignatureAlgorithm, signatureAlgorithm } from "../../protocol/signature.ts";
import type { Signer, SignRequest, UserInteraction } from "../signer.ts";
import { PinRequired } from "./messages.ts";
import type { Provider } from "./provider.ts";
import type { ProviderRegistry } from "./registry.ts";

/** Failures after which the next provider of the key is tried. */
const tryNextProvider: ReadonlySet<string> = new Set([
  "token-removed",
  "no-token",
  "not-loaded",
  "key-not-found",
  "module-crashed",
  "module-timeout",
  "pin-locked",
  "unsupported",
]);

/** A key on a card. It stays the same when its providers are reloaded or others get the key. */
export class CardSigner implements Signer {
  readonly #providers: ProviderRegistry;
  readonly #key: PublicKey;
  readonly #keyBlob: Buffer;
  readonly #path: string;

  /**
   * @param keyBlob the plain key blob
   * @param path the provider that lists it
   */
  constructor(providers: ProviderRegistry, key: PublicKey, keyBlob: Buffer, path: string) {
    this.#providers = providers;
    this.#key = key;
    this.#keyBlob = keyBlob;
    this.#path = path;
  }

  /**
   * Signs. Each provider that has the key is tried without a prompt; if none can sign, the first
   * that needs the PIN asks the user for it.
   * @throws {Failure} as `Provider.sign`; of several failures, the first
   */
  async sign({ data, flags }: SignRequest, interaction: UserInteraction): Promise<Buffer> {
    const algorithm = signatureAlgorithm(this.#key, flags);
    const [first, ...others] = this.#serving();
    if (first === undefined) throw new Failure("not-loaded", `${this.#path} is not loaded.`);
    if (others.length === 0) return this.#signBy(first, algorithm, data, interaction);
    let refusal: Failure | undefined;
    let needsPin: Provider | undefined;
    const { gone, keyName, purpose, upstreams, pinBackoff, notify } = interaction;
    const withoutPin = { gone, keyName, purpose, upstreams, pinBackoff, notify, askPin: undefined };
    for (const provider of [first, ...others]) {
      try {
        return await this.#signBy(provider, algorithm, data, withoutPin);
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        if (error instanceof PinRequired && provider.takesPin(this.#keyBlob)) needsPin ??= provider;
        else if (!tryNextProvider.has(error.code)) throw error;
        refusal ??= error;
      }
    }
    if (needsPin !== undefined) return this.#signBy(needsPin, algorithm, data, interaction);
    throw refusal ?? new Failure("not-loaded", `${this.#path} is not loaded.`);
  }

  /** Signs with a provider, or with the one that replaces it meanwhile. */
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
      const isUnloaded = error instanceof Failure && error.code === "not-loaded";
      if (!isUnloaded || next === provider || !next?.has(this.#keyBlob)) throw error;
      return next.sign(this.#keyBlob, algorithm, data, interaction);
    }
  }

  /**
   * The providers that have the key, the most recently loaded first: it got the PIN last, and
   * another one that looks for its card may log it out.
   */
  #serving(): readonly Provider[] {
    return this.#providers.lastLoadedFirst().filter((provider) => provider.has(this.#keyBlob));
  }
}
