/** Collections of V8's heap that the agent asks for. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import type { Clock } from "./clock.ts";

/**
 * Makes a function that collects all garbage at once: some milliseconds in which nothing else runs.
 * OpenSSL clears a key when the last `KeyObject` of it has been collected, and not before.
 */
export function garbageCollector(): () => void {
  let collect: (() => void) | undefined;
  return () => {
    collect ??= exposeCollector();
    collect();
  };
}

/** V8 gives `gc` to new contexts only. */
function exposeCollector(): () => void {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("gc");
  if (typeof gc !== "function") throw new TypeError("V8 has no gc.");
  return () => gc();
}

/** Garbage that is worth a collection, in bytes. */
const muchGarbage = 2 * 1024 * 1024;

/** Milliseconds in which nothing has come, after which an agent counts as idle. */
const idleTime = 250;

/** Milliseconds after a collection in which V8's own threads have freed the buffers that it found. */
const sweepTime = 1000;

/** How memory is given back. */
export interface MemoryCalls {
  /** Collects all garbage; see `garbageCollector`. */
  readonly collect: () => void;
  /** Gives memory that was freed back to the system. */
  readonly release: () => void;
}

/**
 * Gives memory back after a burst of work. V8 collects garbage when it needs room: an agent that is
 * idle would keep for ever what its busiest moment took.
 */
export class IdleCollection {
  readonly #clock: Clock;
  readonly #calls: MemoryCalls;
  /** Bytes since the last collection. */
  #garbage = 0;
  #arrivals = 0;
  #isWaiting = false;

  constructor(clock: Clock, calls: MemoryCalls) {
    this.#clock = clock;
    this.#calls = calls;
  }

  /** Notes that something has come, so that the agent is not idle. */
  noteArrival(): void {
    this.#arrivals++;
  }

  /** Notes that something is of no use any more. @param bytes about how much memory it had */
  noteGarbage(bytes: number): void {
    this.#garbage += bytes;
    if (this.#garbage >= muchGarbage && !this.#isWaiting) this.#collectWhenIdle();
  }

  #collectWhenIdle(): void {
    this.#isWaiting = true;
    const before = this.#arrivals;
    this.#clock.after(idleTime, () => {
      if (this.#arrivals !== before) return this.#collectWhenIdle();
      this.#isWaiting = false;
      this.#garbage = 0;
      this.#calls.collect();
      this.#clock.after(sweepTime, this.#calls.release);
    });
  }
}
