/** A key of a token in use: where its private half is, and what signatures have told of it. */
import type { TokenDescription } from "../../../protocol/extensions/list-providers.ts";
import type { Cryptoki, Handle } from "./cryptoki.ts";
import { Pace } from "./pace.ts";
import { keyDoesNotSign } from "./refusals.ts";
import type { SessionPool } from "./session-pool.ts";
import { signatureMechanism } from "./signing.ts";
import { findPrivateKey, type TokenKey } from "./token-keys.ts";

/** What is known of a key besides what the token says. */
export class KeyInUse {
  readonly key: TokenKey;
  readonly mechanism: { readonly mechanism: number };
  readonly pace = new Pace();
  /** As the private key says, which may not be seen before the first login. */
  alwaysAuthenticate: boolean;
  /** Whether a signature made in these sessions was seen to be the key's. */
  isProven = false;
  /** The private key, in these sessions. */
  #handle: Handle | undefined;
  #pool: SessionPool | undefined;

  /** @param pool the sessions in which the key has its handle */
  constructor(key: TokenKey, pool: SessionPool | undefined) {
    this.key = key;
    this.mechanism = { mechanism: signatureMechanism(key.publicKey) };
    this.alwaysAuthenticate = key.alwaysAuthenticate;
    this.#handle = key.handle;
    this.#pool = pool;
  }

  /**
   * The private key in a session, or undefined when that does not see it.
   * @param pool the sessions of which it is one
   * @param token the key's
   * @throws {Failure} unsupported, for a key that does not sign
   */
  handleIn(
    cryptoki: Cryptoki,
    pool: SessionPool,
    session: Handle,
    token: TokenDescription,
  ): Handle | undefined {
    if (this.#pool !== pool) {
      this.#handle = undefined;
      this.isProven = false;
      this.#pool = pool;
    }
    if (this.#handle !== undefined) return this.#handle;
    const found = findPrivateKey(cryptoki, session, this.key);
    if (found === undefined) return undefined;
    if (!found.signs) throw keyDoesNotSign(token);
    this.alwaysAuthenticate = found.alwaysAuthenticate;
    this.#handle = found.handle;
    return this.#handle;
  }
}
