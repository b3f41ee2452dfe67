/** Keeps a library loaded: in a child process, which is restarted when it has ended. */
import type { ProviderState } from "../../protocol/extensions/list-providers.ts";
import { asFailure, Failure } from "../../protocol/failure.ts";
import { type Child, expected, type ProviderLimits, type Question } from "./child-process.ts";
import { type ChildReply, type Inventory, isPinRefused } from "./messages.ts";
import type { ResolvedModule } from "./module-uri.ts";

/** How to load a library. */
export interface LoadOptions {
  readonly module: ResolvedModule;
  /** Fingerprints of the keys to find; undefined for all. */
  readonly only: readonly string[] | undefined;
  /** Seconds that a PIN is cached for reconnecting; 0 for not at all. */
  readonly keepPin: number;
  /** Starts a process that has not loaded a library yet. */
  readonly startChild: () => Child;
  /** Ends a process that failed to load the library. */
  readonly discard: (child: Child) => Promise<void>;
  readonly limits: ProviderLimits;
  readonly log: (line: string) => void;
}

/** The process of a `child` may have ended in each of them. */
type State =
  | { readonly type: "loaded"; readonly child: Child }
  /** The library is being loaded by a new process. */
  | { readonly type: "restoring"; readonly child: Child; readonly restored: Promise<Child> }
  | { readonly type: "failed" }
  | { readonly type: "closed" };

/** A loaded library. If its process has ended, the next question starts a new one. */
export class Supervisor {
  /** The tokens and keys found when the library was loaded. */
  readonly inventory: Inventory;
  readonly #options: LoadOptions;
  #state: State;

  private constructor(options: LoadOptions, child: Child, inventory: Inventory) {
    this.#options = options;
    this.#state = { type: "loaded", child };
    this.inventory = inventory;
  }

  /**
   * Loads a library in a process of its own.
   * @param pin UTF-8, empty for none; the caller overwrites it
   * @param prepared a process that has not loaded a library yet
   * @throws {Failure} as `ProviderRegistry.add`
   */
  static async load(
    options: LoadOptions,
    pin: Buffer,
    prepared: Child | undefined,
  ): Promise<Supervisor> {
    const child = start(options, prepared);
    const { module, only, keepPin, limits, log } = options;
    const { library: path, selection } = module;
    try {
      const question = { type: "load", path, selection, only, keepPin, pin } as const;
      const { inventory } = expected(await child.ask(question, limits.load, "kill"), "loaded");
      log(`loaded ${path}: ${inventory.tokens.length} tokens, ${inventory.keys.length} keys`);
      return new Supervisor(options, child, inventory);
    } catch (error) {
      log(`loading ${path} failed: ${asFailure(error).code}`);
      // After a wrong PIN the token logs out every program. Some libraries log in again by
      // themselves when they see that the card was reset, which C_Finalize does.
      await (isPinRefused(error) ? child.close(limits.close) : options.discard(child));
      throw error;
    }
  }

  /** Restarts the process if it has ended. @throws {Failure} not-loaded, or why it cannot start */
  async ready(): Promise<void> {
    if (this.#running === undefined) await this.#restored();
  }

  /**
   * Asks for a signature or a login.
   * @param token its index in the inventory
   * @param type the expected type of the reply
   * @param check called when the process runs, just before the question is sent; what it throws is
   *   thrown
   * @throws {Failure} the library's own, module-crashed, module-timeout, not-loaded
   */
  async ask<Type extends ChildReply["type"]>(
    token: number,
    question: Question,
    type: Type,
    check: () => void = () => {},
  ): Promise<ChildReply & { readonly type: Type }> {
    const child = this.#running ?? (await this.#restored());
    check();
    return expected(await child.ask(question, this.#options.limits.sign, "kill", token), type);
  }

  /** The state of each token, which the library is asked for with a short timeout. */
  async states(): Promise<readonly ProviderState[]> {
    const { tokens } = this.inventory;
    const child = this.#running;
    if (child === undefined) {
      const isOver = this.#state.type === "failed" || this.#state.type === "closed";
      return tokens.map(({ login }) =>
        !isOver && login === "pin" ? "pin-needed" : "module-failed",
      );
    }
    try {
      const reply = await child.ask({ type: "state" }, this.#options.limits.status, "leave");
      return expected(reply, "state").tokens;
    } catch {
      // The library may be blocked by a token that waits for its user.
      const state = child.isSigning ? "ready" : "module-failed";
      return tokens.map(() => state);
    }
  }

  /** Overwrites the cached PINs. */
  forgetPins(): void {
    this.#child?.tell({ type: "forget" });
  }

  /** Ends the process with C_Finalize, or kills it when that takes too long. */
  async close(): Promise<void> {
    const child = this.#child;
    this.#state = { type: "closed" };
    await child?.close(this.#options.limits.close);
  }

  /** Ends the process without C_Finalize. */
  async closeWithoutFinalize(): Promise<void> {
    const child = this.#child;
    this.#state = { type: "closed" };
    await child?.abort();
  }

  get #child(): Child | undefined {
    return "child" in this.#state ? this.#state.child : undefined;
  }

  /** The process, if it accepts questions. */
  get #running(): Child | undefined {
    if (this.#state.type !== "loaded" || !this.#state.child.running) return undefined;
    return this.#state.child;
  }

  async #restored(): Promise<Child> {
    switch (this.#state.type) {
      case "loaded":
      case "failed":
        return this.#restore();
      case "restoring":
        return this.#state.restored;
      case "closed":
        throw new Failure("not-loaded", `The library ${this.#options.module.name} was unloaded.`);
    }
  }

  #restore(): Promise<Child> {
    const child = start(this.#options);
    const { module, keepPin, limits } = this.#options;
    const { inventory } = this;
    const question = { type: "restore", path: module.library, keepPin, inventory } as const;
    const settle = (state: State) => {
      if (this.#state.type !== "closed") this.#state = state;
    };
    const restored = child.ask(question, limits.load, "kill").then(
      (reply) => {
        expected(reply, "done");
        settle({ type: "loaded", child });
        return child;
      },
      async (error: unknown) => {
        await child.close(limits.close);
        settle({ type: "failed" });
        throw error;
      },
    );
    this.#state = { type: "restoring", child, restored };
    return restored;
  }
}

/** @param prepared a process that has not loaded a library yet */
function start({ module, startChild, log }: LoadOptions, prepared?: Child): Child {
  const { library } = module;
  const child = prepared?.running === true ? prepared : startChild();
  child.serve(library);
  log(`loading ${library} in process ${child.pid}`);
  void child.ended.then(() => log(`process ${child.pid} of ${library} has ended`));
  return child;
}
