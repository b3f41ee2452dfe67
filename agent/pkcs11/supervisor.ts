/** Keeps a library loaded: in a child process, which is restarted when it has ended. */
import type { ProviderState } from "../../protocol/extensions/list-providers.ts";
import { asFailure, Failure } from "../../protocol/failure.ts";
import type { Clock } from "../host/clock.ts";
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
  /** When tokens that nobody uses are given back; undefined for never. */
  readonly idle: IdleRelease | undefined;
  /** Ends the process of tokens that are given back. */
  readonly endIdle: (child: Child) => Promise<void>;
  readonly log: (line: string) => void;
}

/** `ssh-agent -O idle-release`: other programs can have a card that nobody uses. */
export interface IdleRelease {
  readonly clock: Clock;
  /** Milliseconds after the last signature or login. */
  readonly after: number;
}

/** The process of a `child` may have ended in each of them. */
type State =
  | { readonly type: "loaded"; readonly child: Child }
  /** The library is being loaded by a new process. */
  | { readonly type: "restoring"; readonly child: Child; readonly restored: Promise<Child> }
  /** The tokens are given back: C_Finalize was called. The process still caches a PIN. */
  | { readonly type: "dormant"; readonly child: Child }
  /** The tokens are given back: the process has ended, or is about to. */
  | { readonly type: "released"; readonly ended: Promise<void> }
  | { readonly type: "failed" }
  | { readonly type: "closed" };

/** A loaded library. If its process has ended, the next question starts a new one. */
export class Supervisor {
  /** The tokens and keys found when the library was loaded. */
  readonly inventory: Inventory;
  readonly #options: LoadOptions;
  #state: State;
  /** The signatures and logins in progress. */
  #uses = 0;
  #cancelRelease: (() => void) | undefined;

  private constructor(options: LoadOptions, child: Child, inventory: Inventory) {
    this.#options = options;
    this.#state = { type: "loaded", child };
    this.inventory = inventory;
    this.#scheduleRelease();
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
      for (const { object, reason } of inventory.leftOut) {
        log(`left out of ${path}: ${object}: ${reason}`);
      }
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
    this.#uses++;
    this.#cancelRelease?.();
    try {
      const child = this.#running ?? (await this.#restored());
      check();
      const wasDormant = this.#state.type === "dormant";
      if (wasDormant) this.#state = { type: "loaded", child };
      const ask = (one: Child) => one.ask(question, this.#options.limits.sign, "kill", token);
      const reply = await ask(child).catch(async (error: unknown) => {
        // A library that cannot be initialized twice has ended its process. A PIN is sent once.
        const hasPin = "pin" in question && question.pin.length > 0;
        if (!wasDormant || child.running || hasPin) throw error;
        const next = await this.#restored();
        check();
        return ask(next);
      });
      return expected(reply, type);
    } finally {
      this.#uses--;
      if (this.#uses === 0) this.#scheduleRelease();
    }
  }

  /** Whether the tokens are given back until the next signature or login. */
  get isReleased(): boolean {
    return this.#state.type === "dormant" || this.#state.type === "released";
  }

  /**
   * The state of each token, which the library is asked for with a short timeout; of a token that is
   * given back, what the next signature needs.
   */
  async states(): Promise<readonly ProviderState[]> {
    const { tokens } = this.inventory;
    const child = this.#running;
    if (child === undefined) {
      const isOver = this.#state.type === "failed" || this.#state.type === "closed";
      const otherwise = this.isReleased ? "ready" : "module-failed";
      return tokens.map(({ login }) => (!isOver && login === "pin" ? "pin-needed" : otherwise));
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

  /**
   * The keys of a token that have no private key, by their index.
   * @returns undefined while that is not known
   */
  async missingKeys(token: number): Promise<readonly number[] | undefined> {
    const child = this.#running;
    if (child === undefined) return undefined;
    const reply = await child.ask({ type: "missing", token }, this.#options.limits.load, "leave");
    return expected(reply, "missing").keys;
  }

  /** Overwrites the cached PINs. */
  forgetPins(): void {
    this.#child?.tell({ type: "forget" });
  }

  /** Ends the process with C_Finalize, or kills it when that takes too long. */
  async close(): Promise<void> {
    await this.#end()?.close(this.#options.limits.close);
  }

  /** Ends the process without C_Finalize. */
  async closeWithoutFinalize(): Promise<void> {
    await this.#end()?.abort();
  }

  /** @returns the process to end */
  #end(): Child | undefined {
    const child = this.#child;
    this.#state = { type: "closed" };
    this.#cancelRelease?.();
    return child;
  }

  #scheduleRelease(): void {
    const { idle } = this.#options;
    if (idle === undefined || this.#state.type !== "loaded") return;
    this.#cancelRelease = idle.clock.after(idle.after, () => void this.#release());
  }

  /** Gives the tokens back. The process lives on only if it caches a PIN for the next login. */
  async #release(): Promise<void> {
    if (this.#state.type !== "loaded") return;
    const { child } = this.#state;
    const { limits, endIdle, log, module } = this.#options;
    this.#state = { type: "dormant", child };
    let isDormant = false;
    try {
      const reply = await child.ask({ type: "release" }, limits.release, "kill");
      isDormant = expected(reply, "released").keepsPin;
    } catch {
      // C_Finalize fails or hangs: the end of the process gives the tokens back.
    }
    // In use again meanwhile, or closed.
    if (this.#state.type !== "dormant" || this.#state.child !== child) return;
    if (!isDormant) this.#state = { type: "released", ended: endIdle(child) };
    log(`released ${module.name}, which nobody uses`);
  }

  get #child(): Child | undefined {
    return "child" in this.#state ? this.#state.child : undefined;
  }

  /** The process, if it accepts questions. */
  get #running(): Child | undefined {
    if (this.#state.type !== "loaded" && this.#state.type !== "dormant") return undefined;
    return this.#state.child.running ? this.#state.child : undefined;
  }

  async #restored(): Promise<Child> {
    switch (this.#state.type) {
      case "loaded":
      case "dormant":
      case "failed":
        return this.#restore();
      case "released":
        return this.#restore(this.#state.ended);
      case "restoring":
        return this.#state.restored;
      case "closed":
        throw new Failure("not-loaded", `The library ${this.#options.module.name} was unloaded.`);
    }
  }

  /** @param ended when the previous process, which may still hold the tokens, has ended */
  #restore(ended?: Promise<void>): Promise<Child> {
    const child = start(this.#options);
    const { module, keepPin, limits } = this.#options;
    const { inventory } = this;
    const question = { type: "restore", path: module.library, keepPin, inventory } as const;
    const settle = (state: State) => {
      if (this.#state.type !== "closed") this.#state = state;
    };
    const asked =
      ended === undefined
        ? child.ask(question, limits.load, "kill")
        : ended.then(() => child.ask(question, limits.load, "kill"));
    const restored = asked.then(
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
