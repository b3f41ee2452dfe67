/** A library that is loaded, with its tokens and their keys: which of them a request means. */
import type { ProviderState } from "../../../protocol/extensions/list-providers.ts";
import { Failure } from "../../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../../protocol/signature.ts";
import type { Inventory, KnownKey } from "../messages.ts";
import type { Module } from "./module.ts";
import type { OpenToken } from "./open-tokens.ts";
import { KeyState, sign } from "./sign.ts";
import type { TokenConnection } from "./token.ts";

/** A key in use, and its token. */
interface Place {
  readonly token: TokenConnection;
  readonly key: KeyState;
}

/** A library, its tokens and their keys. */
export class Library {
  /** What was found. Requests name tokens and keys by their places in it. */
  readonly inventory: Inventory;
  readonly #module: Module;
  readonly #tokens: readonly TokenConnection[];
  readonly #places: readonly Place[];

  /** @param tokens with their keys, of which each key blob is taken once */
  constructor(module: Module, tokens: readonly OpenToken[]) {
    const places: Place[] = [];
    const known: KnownKey[] = [];
    const seen = new Set<string>();
    for (const [token, { connection, keys }] of tokens.entries()) {
      for (const key of keys) {
        const { keyBlob, label, id, alwaysAuthenticate } = key;
        const name = keyBlob.toString("latin1");
        if (seen.has(name)) continue;
        seen.add(name);
        places.push({ token: connection, key: new KeyState(key, connection.sessions) });
        known.push({ keyBlob, label, id, alwaysAuthenticate, token });
      }
    }
    this.#module = module;
    this.#tokens = tokens.map(({ connection }) => connection);
    this.#places = places;
    this.inventory = { tokens: this.#tokens.map(({ known }) => known), keys: known };
  }

  /** Signs. @param pin the token's, or empty @throws {Failure} as `Provider.sign` */
  sign(key: number, algorithm: SignatureAlgorithm, data: Buffer, pin: Buffer): Promise<Buffer> {
    const place = this.#places[key];
    if (place === undefined) throw new Failure("key-not-found", "The token has no such key.");
    return sign(this.#module, place.token, place.key, algorithm, data, pin);
  }

  /** Logs in to a token. @throws {Failure} as `TokenConnection.reconnect` */
  login(place: number, pin: Buffer): Promise<void> {
    const token = this.#tokens[place];
    if (token === undefined) throw new Failure("internal", "There is no such token.");
    return token.reconnect({ stale: token.sessions, step: "login", pin });
  }

  /** What each token can do now. */
  states(): Promise<ProviderState[]> {
    return Promise.all(
      this.#tokens.map((token) => token.state().catch(() => "module-failed" as const)),
    );
  }

  /** Overwrites the PINs that are cached. */
  forgetPins(): void {
    for (const { login } of this.#tokens) login.forgetPin();
  }
}
