/** The library of this process with its tokens: what the agent's requests are carried out by. */
import type { ProviderState } from "../../../protocol/extensions/list-providers.ts";
import { Failure } from "../../../protocol/failure.ts";
import { systemClock } from "../../host/clock.ts";
import type { Inventory, KnownKey } from "../inventory.ts";
import type { ChildRequest } from "../messages.ts";
import { KeptPin } from "./kept-pin.ts";
import { Module } from "./module.ts";
import { type Opening, openEarly, openTokens, restoreTokens } from "./opening.ts";
import { makeSelection } from "./selection.ts";
import type { Token } from "./token.ts";

/** A request of one kind. */
type Request<Type extends ChildRequest["type"]> = ChildRequest & { readonly type: Type };

/** A library, its tokens and their keys. */
export class Library {
  #module: Module | undefined;
  #tokens: readonly Token[] = [];
  /** The keys of all tokens, in the order in which the agent was told of them. */
  #places: readonly { readonly token: Token; readonly index: number }[] = [];

  /** Where it was loaded from; empty before. */
  get path(): string {
    return this.#module?.path ?? "";
  }

  /** Starts the library, and has it read of its cards what it reads first. @throws {Failure} */
  open({ path }: Request<"open">): void {
    openEarly(this.#start(path));
  }

  /** Loads the library and finds its keys. @throws {Failure} */
  async load({ path, selection, keepPin, pin }: Request<"load">): Promise<Inventory> {
    const wanted = makeSelection(selection);
    this.#tokens = await openTokens(this.#begin(path, keepPin), wanted, pin);
    return this.#takeInventory();
  }

  /** Loads the library for keys that are known already. @throws {Failure} */
  restore({ path, keepPin, inventory }: Request<"restore">): void {
    this.#tokens = restoreTokens(this.#begin(path, keepPin), inventory);
    const next = this.#tokens.map(() => 0);
    this.#places = inventory.keys.map(({ token: place }) => {
      const token = this.#tokens[place];
      if (token === undefined) throw new Failure("internal", "A known key has no token.");
      const index = next[place] ?? 0;
      next[place] = index + 1;
      return { token, index };
    });
  }

  /** Signs. @param alone whether nothing else was asked for at the same time @throws {Failure} */
  sign({ key, algorithm, data, pin }: Request<"sign">, alone: boolean): Promise<Buffer> {
    const place = this.#places[key];
    if (place === undefined) throw new Failure("key-not-found", "The card has no such key.");
    return place.token.sign(place.index, algorithm, data, alone, pin);
  }

  /** Logs in to a token. @throws {Failure} */
  login({ token, pin }: Request<"login">): Promise<void> {
    const known = this.#tokens[token];
    if (known === undefined) throw new Failure("internal", "There is no such token.");
    return known.login(pin);
  }

  /** What each token can do now. */
  states(): Promise<ProviderState[]> {
    return Promise.all(
      this.#tokens.map((token) => token.state().catch(() => "module-failed" as const)),
    );
  }

  /** Overwrites the PINs that are kept. */
  forget(): void {
    for (const token of this.#tokens) token.forget();
  }

  /** Forgets the PINs, and C_Finalize. */
  finish(): void {
    this.forget();
    this.#module?.finalize();
  }

  #begin(path: string, keepPin: number): Opening {
    const module = this.#start(path);
    return { module, makeKeptPin: () => new KeptPin(systemClock, keepPin) };
  }

  #start(path: string): Module {
    this.#module ??= new Module(path);
    return this.#module;
  }

  #takeInventory(): Inventory {
    const keys: KnownKey[] = [];
    const places: { token: Token; index: number }[] = [];
    const seen = new Set<string>();
    for (const [place, token] of this.#tokens.entries()) {
      for (const [index, key] of token.keys.entries()) {
        const name = key.keyBlob.toString("latin1");
        if (seen.has(name)) continue;
        seen.add(name);
        places.push({ token, index });
        const { keyBlob, label, id, alwaysAuthenticate } = key;
        keys.push({ keyBlob, label, id, alwaysAuthenticate, token: place });
      }
    }
    this.#places = places;
    return { tokens: this.#tokens.map(({ known }) => known), keys };
  }
}
