/** Memory that the agent gives back when it is idle. */
import type { Clock } from "./clock.ts";

/** Garbage after which it is worth to look at the memory that the agent has, in bytes. */
const muchGarbage = 2 * 1024 * 1024;

/**
 * Bytes that memory may grow by before it is given back. A collection costs more than its own time:
 * what runs next has lost its compiled code and its pages, and runs at half its speed for a while.
 */
const maxGrowth = 30 * 1024 * 1024;

/** Dropped bytes that are collected at once: V8 lets several times as much gather. */
const maxDropped = 32 * 1024 * 1024;

/** Milliseconds in which nothing has come, after which an agent counts as idle. */
const idleTime = 250;

/** Milliseconds after a collection in which V8's own threads have freed the buffers that it found. */
const sweepTime = 1000;

/** How memory is given back. */
export interface MemoryCalls {
  /** Memory that the process has, in bytes. */
  readonly resident: () => number;
  /** Collects all garbage; see `openssh/garbage-collector.ts`. */
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
  readonly #held: () => number;
  /** Bytes since memory was last looked at. */
  #garbage = 0;
  /** Bytes that were dropped since the last collection for that. */
  #dropped = 0;
  #arrivals = 0;
  #isWaiting = false;
  /** What the agent needs: its memory when it started, or when some was last given back. */
  #needed: number;

  /** @param held bytes that connections hold now, which the agent will not need */
  constructor(clock: Clock, calls: MemoryCalls, held: () => number) {
    this.#clock = clock;
    this.#calls = calls;
    this.#held = held;
    this.#needed = calls.resident();
  }

  /** Notes that something has come, so that the agent is not idle. */
  noteArrival(): void {
    this.#arrivals++;
  }

  /** Notes that something is of no use any more. @param bytes about how much memory it had */
  noteGarbage(bytes: number): void {
    this.#garbage += bytes;
    if (this.#garbage >= muchGarbage && !this.#isWaiting) this.#lookWhenIdle();
  }

  /** Notes that much is of no use any more, while more may come. @param bytes how much */
  noteDropped(bytes: number): void {
    this.noteGarbage(bytes);
    this.#dropped += bytes;
    if (this.#dropped < maxDropped) return;
    this.#dropped = 0;
    this.#calls.collect();
  }

  #lookWhenIdle(): void {
    this.#isWaiting = true;
    const before = this.#arrivals;
    this.#clock.after(idleTime, () => {
      if (this.#arrivals !== before) return this.#lookWhenIdle();
      this.#garbage = 0;
      if (this.#calls.resident() > this.#needed + maxGrowth) this.#collect();
      else this.#isWaiting = false;
    });
  }

  #collect(): void {
    this.#calls.collect();
    this.#clock.after(sweepTime, () => {
      this.#calls.collect(); // V8 gives up pages that two collections in a row found empty
      this.#calls.release();
      const resident = this.#calls.resident();
      // What connections hold, and what else there is because of them, will go with them.
      const passing = Math.max(this.#held(), this.#garbage);
      if (passing < muchGarbage || resident < this.#needed) this.#needed = resident;
      this.#isWaiting = false;
      this.noteGarbage(0); // much may have come meanwhile
    });
  }
}
