/** A loaded library, its tokens and their keys, by their index in the inventory. */
import type { LeftOutObject, ProviderState } from "../../../protocol/extensions/list-providers.ts";
import { Failure } from "../../../protocol/failure.ts";
import { blobId } from "../../../protocol/public-key.ts";
import type { SignatureAlgorithm } from "../../../protocol/signature.ts";
import type { Inventory, KnownKey, LeftOut } from "../messages.ts";
import { KeyState } from "./key-state.ts";
import type { Module } from "./module.ts";
import { findWithoutPrivateKey } from "./pairing.ts";
import { sign } from "./sign.ts";
import type { OpenTokens, TokenConnection } from "./token.ts";

/** A key and its token. */
interface LoadedKey {
  readonly token: TokenConnection;
  readonly key: KeyState;
}

export class Library {
  /** The tokens and keys found. Requests name them by index. */
  readonly inventory: Inventory;
  readonly #module: Module;
  readonly #tokens: readonly TokenConnection[];
  readonly #keys: readonly LoadedKey[];

  /** @param tokens with their keys; a key blob that repeats is skipped */
  constructor(module: Module, { tokens, leftOut: others }: OpenTokens) {
    const loaded: LoadedKey[] = [];
    const known: KnownKey[] = [];
    const unlisted: LeftOutObject[] = [];
    const seen = new Set<string>();
    for (const [token, { connection, keys, leftOut }] of tokens.entries()) {
      const ofToken: KeyState[] = [];
      unlisted.push(...shorten(leftOut).map((one) => ({ ...one, token })));
      for (const key of keys) {
        const { keyBlob, label, id, alwaysAuthenticate } = key;
        const name = blobId(keyBlob);
        if (seen.has(name)) continue;
        seen.add(name);
        const state = new KeyState(key, connection.sessions, ofToken);
        ofToken.push(state);
        loaded.push({ token: connection, key: state });
        const hidden = key.handle === undefined;
        known.push({ keyBlob, label, id, alwaysAuthenticate, hidden, token });
      }
    }
    this.#module = module;
    this.#tokens = tokens.map(({ connection }) => connection);
    this.#keys = loaded;
    this.inventory = {
      tokens: this.#tokens.map(({ known }) => known),
      keys: known,
      leftOut: [...unlisted, ...shorten(others).map((one) => ({ ...one, token: undefined }))],
    };
  }

  /** Signs. @param pin the token's PIN, or empty @throws {Failure} as `Provider.sign` */
  sign(key: number, algorithm: SignatureAlgorithm, data: Buffer, pin: Buffer): Promise<Buffer> {
    const loaded = this.#keys[key];
    if (loaded === undefined) throw new Failure("key-not-found", "The token has no such key.");
    return sign(this.#module, loaded.token, loaded.key, algorithm, data, pin);
  }

  /** Logs in to a token. @throws {Failure} as `TokenConnection.reconnect` */
  login(index: number, pin: Buffer): Promise<void> {
    const token = this.#tokens[index];
    if (token === undefined) throw new Failure("internal", "There is no such token.");
    return token.reconnect({ stale: token.sessions, step: "login", pin });
  }

  /**
   * The keys of a token that have no private key, by their index: before the login it may be hidden.
   * @returns undefined while that is not known
   * @throws the library's error
   */
  async missingKeys(index: number): Promise<number[] | undefined> {
    const token = this.#tokens[index];
    const sessions = token?.sessions;
    if (!token?.isLoggedIn || sessions === undefined) return undefined;
    const own = this.#keys.filter((one) => one.token === token);
    const missing = await this.#module.use(async () => {
      const session = await sessions.take();
      try {
        const keys = own.map(({ key }) => key.key);
        return await findWithoutPrivateKey(this.#module.cryptoki, session, keys);
      } finally {
        sessions.release(session);
      }
    });
    const isMissing = ({ token: of, key }: LoadedKey) =>
      of === token && !key.hasSigned && missing?.includes(key.key);
    return (
      missing && [...this.#keys.entries()].flatMap(([at, one]) => (isMissing(one) ? [at] : []))
    );
  }

  /** The current state of each token. */
  states(): Promise<ProviderState[]> {
    return Promise.all(
      this.#tokens.map((token) => token.state().catch(() => "module-failed" as const)),
    );
  }

  /**
   * Gives the tokens back with C_Finalize, if a PIN is cached for the next login.
   * @returns whether one is
   * @throws the error of C_Finalize
   */
  async release(): Promise<boolean> {
    if (!this.#tokens.some(({ login }) => login.hasCachedPin)) return false;
    await this.#module.release();
    for (const token of this.#tokens) token.noteReleased();
    return true;
  }

  /** Overwrites the cached PINs. */
  forgetPins(): void {
    for (const { login } of this.#tokens) login.forgetPin();
  }
}

/** The maximum number of objects per token that an inventory names as left out. */
const maxLeftOut = 64;

/** Sorted, since tokens list objects in any order. */
function shorten(unsorted: readonly LeftOut[]): readonly LeftOut[] {
  const text = ({ object, reason }: LeftOut) => `${object}: ${reason}`;
  const leftOut = unsorted.toSorted((one, other) => (text(one) < text(other) ? -1 : 1));
  if (leftOut.length <= maxLeftOut) return leftOut;
  const more = leftOut.length - maxLeftOut + 1;
  const rest = { object: `${more} more objects`, reason: "not named here, since they are many" };
  return [...leftOut.slice(0, maxLeftOut - 1), rest];
}
