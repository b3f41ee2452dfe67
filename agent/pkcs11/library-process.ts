/** The process in which a library is loaded, and the one that takes over when that has ended. */

import type { Pkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import type { ProviderState } from "../../protocol/extensions/list-providers.ts";
import { asFailure, Failure } from "../../protocol/failure.ts";
import { expected, type Helper, type Question } from "./helper.ts";
import type { Inventory } from "./inventory.ts";
import type { ChildReply } from "./messages.ts";
import { isPinRefused } from "./pin-failures.ts";
import type { ProviderLimits } from "./provider.ts";

/** What is needed to load a library. */
export interface LoadOptions {
  /** What the provider goes by. */
  readonly path: string;
  /** The path or the URI as it was given. */
  readonly requested: string;
  /** The canonical path of the library. */
  readonly library: string;
  /** What chooses among its tokens and keys; undefined for all. */
  readonly selection: Pkcs11Uri | undefined;
  /** Seconds that a PIN is kept for reconnecting; 0 for not at all. */
  readonly keepPin: number;
  /** Starts a process that has loaded no library yet. */
  readonly startHelper: () => Helper;
  /** Ends a process in which loading the library has failed. */
  readonly discard: (helper: Helper) => Promise<void>;
  readonly limits: ProviderLimits;
  readonly log: (line: string) => void;
}

/**
 * Loads a library in a process of its own.
 * @param pin UTF-8, empty for none; the caller overwrites it
 * @param prepared a process that has loaded none yet
 * @throws {Failure} as `ProviderRegistry.add`
 */
export async function loadLibrary(
  options: LoadOptions,
  pin: Buffer,
  prepared: Helper | undefined,
): Promise<LibraryProcess> {
  const helper = start(options, prepared);
  const { library: path, selection, keepPin, limits, log } = options;
  try {
    const question = { type: "load", path, selection, keepPin, pin } as const;
    const { inventory } = expected(await helper.ask(question, limits.load, "kill"), "loaded");
    log(`loaded ${path}: ${inventory.tokens.length} tokens, ${inventory.keys.length} keys`);
    return new LibraryProcess(options, helper, inventory);
  } catch (error) {
    log(`loading ${path} failed: ${asFailure(error).code}`);
    // A card that has seen a wrong PIN wants the right one again from everybody. Some libraries give
    // it by themselves, when they see that the card was reset, as it is by C_Finalize.
    await (isPinRefused(error) ? helper.close(limits.close) : options.discard(helper));
    throw error;
  }
}

/** A loaded library. When its process has ended, the next question starts another one. */
export class LibraryProcess {
  /** What was found when the library was loaded. */
  readonly inventory: Inventory;
  readonly #options: LoadOptions;
  #helper: Helper;
  /** The library is being loaded again, in this process. */
  #again: { readonly helper: Helper; readonly restored: Promise<Helper> } | undefined;
  /** Loading it again failed. */
  #failed = false;
  #closed = false;

  constructor(options: LoadOptions, helper: Helper, inventory: Inventory) {
    this.#options = options;
    this.#helper = helper;
    this.inventory = inventory;
  }

  /** Sees to it that there is a process to ask. @throws {Failure} not-loaded, or why there is none */
  async ready(): Promise<void> {
    if (!this.#helper.running) await this.#running();
  }

  /**
   * Asks for a signature or a login.
   * @param token that it is for
   * @param type of the answer
   * @param check called when there is a process to ask, which may have to be started first; what it
   *   throws is thrown
   * @throws {Failure} the library's own, module-crashed, module-timeout, not-loaded
   */
  async ask<Type extends ChildReply["type"]>(
    token: number,
    question: Question,
    type: Type,
    check: () => void = () => {},
  ): Promise<ChildReply & { readonly type: Type }> {
    const helper = this.#helper.running ? this.#helper : await this.#running();
    check();
    return expected(await helper.ask(question, this.#options.limits.sign, "kill", token), type);
  }

  /** What each of the tokens can do now. It asks the library, with a short limit. */
  async states(): Promise<readonly ProviderState[]> {
    const helper = this.#helper;
    if (!helper.running) return this.#statesWithoutHelper();
    try {
      const reply = await helper.ask({ type: "state" }, this.#options.limits.status, "leave");
      return expected(reply, "state").tokens;
    } catch {
      // A library may be held up by a token that is waited for.
      return this.#all(helper.isSigning ? "ready" : "module-failed");
    }
  }

  /** Overwrites the PINs that are kept. */
  forgetPins(): void {
    this.#helper.tell({ type: "forget" });
    this.#again?.helper.tell({ type: "forget" });
  }

  /** Ends the process: with C_Finalize if that takes a moment, else without. */
  async close(): Promise<void> {
    this.#closed = true;
    const { close } = this.#options.limits;
    await Promise.all([this.#again?.helper.close(close), this.#helper.close(close)]);
  }

  /** Ends the process without C_Finalize. */
  async closeWithoutFinalize(): Promise<void> {
    this.#closed = true;
    await Promise.all([this.#again?.helper.abort(), this.#helper.abort()]);
  }

  async #running(): Promise<Helper> {
    if (this.#closed) {
      throw new Failure("not-loaded", `The library ${this.#options.path} was unloaded.`);
    }
    this.#again ??= this.#restore();
    try {
      const helper = await this.#again.restored;
      this.#failed = false;
      return helper;
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  #restore(): { readonly helper: Helper; readonly restored: Promise<Helper> } {
    const helper = start(this.#options);
    const { library: path, keepPin, limits } = this.#options;
    const question = { type: "restore", path, keepPin, inventory: this.inventory } as const;
    const restored = helper
      .ask(question, limits.load, "kill")
      .then((reply) => {
        expected(reply, "done");
        this.#helper = helper;
        return helper;
      })
      .catch(async (error: unknown) => {
        await helper.close(limits.close);
        throw error;
      })
      .finally(() => {
        this.#again = undefined;
      });
    return { helper, restored };
  }

  #statesWithoutHelper(): readonly ProviderState[] {
    if (this.#failed || this.#closed) return this.#all("module-failed");
    return this.inventory.tokens.map(({ login }) =>
      login === "pin" ? "pin-needed" : "module-failed",
    );
  }

  #all(state: ProviderState): readonly ProviderState[] {
    return this.inventory.tokens.map(() => state);
  }
}

/** @param prepared a process that has loaded no library yet */
function start(options: LoadOptions, prepared?: Helper): Helper {
  const { library, log } = options;
  const helper = prepared?.running === true ? prepared : options.startHelper();
  helper.serve(library);
  log(`loading ${library} in process ${helper.pid}`);
  void helper.ended.then(() => log(`process ${helper.pid} of ${library} has ended`));
  return helper;
}
