/** Returns memory to the system when the agent is idle. */
import type { Clock } from "./clock.ts";

/** Bytes of garbage after which resident memory is checked. */
const checkThreshold = 2 * 1024 * 1024;

/**
 * Bytes by which resident memory may grow before it is returned to the system. A collection costs more
 * than its own time: V8 drops compiled code, so the agent runs at half its speed for a while.
 */
const maxGrowth = 30 * 1024 * 1024;

/** Dropped bytes after which garbage is collected at once: V8 would wait for several times as much. */
const maxDropped = 32 * 1024 * 1024;

/** Milliseconds without a request after which the agent is idle. */
const idleTime = 250;

/** Milliseconds in which V8's threads free the buffers that a collection found. */
const sweepTime = 1000;

/** How memory is returned to the system. */
export interface MemoryCalls {
  /** Bytes of the process's data in memory. */
  readonly resident: () => number;
  /** Collects all garbage; see `openssh/garbage-collector.ts`. */
  readonly collect: () => void;
  /** Returns freed memory to the system. */
  readonly release: () => void;
}

/**
 * Returns memory to the system after a burst of work. V8 collects garbage only when it needs room, so
 * an idle agent would keep the memory of its busiest moment for ever.
 */
export class IdleCollection {
  readonly #clock: Clock;
  readonly #calls: MemoryCalls;
  readonly #held: () => number;
  /** Bytes of garbage since resident memory was last checked. */
  #garbage = 0;
  /** Bytes dropped since the last collection by `noteDropped`. */
  #dropped = 0;
  #arrivals = 0;
  #isWaiting = false;
  /** Resident memory at the start, or after memory was last returned. */
  #baseline: number;

  /** @param held the bytes that connections hold now, which are not part of the baseline */
  constructor(clock: Clock, calls: MemoryCalls, held: () => number) {
    this.#clock = clock;
    this.#calls = calls;
    this.#held = held;
    this.#baseline = calls.resident();
  }

  /** Records that bytes have arrived, so the agent is not idle. */
  noteArrival(): void {
    this.#arrivals++;
  }

  /** Records garbage, of about so many bytes. */
  noteGarbage(bytes: number): void {
    this.#garbage += bytes;
    if (this.#garbage >= checkThreshold && !this.#isWaiting) this.#checkWhenIdle();
  }

  /** Records garbage of a connection that the agent closed; much of it is collected at once. */
  noteDropped(bytes: number): void {
    this.noteGarbage(bytes);
    this.#dropped += bytes;
    if (this.#dropped < maxDropped) return;
    this.#dropped = 0;
    this.#calls.collect();
  }

  #checkWhenIdle(): void {
    this.#isWaiting = true;
    const before = this.#arrivals;
    this.#clock.after(idleTime, () => {
      if (this.#arrivals !== before) return this.#checkWhenIdle();
      this.#garbage = 0;
      if (this.#calls.resident() > this.#baseline + maxGrowth) this.#collect();
      else this.#isWaiting = false;
    });
  }

  #collect(): void {
    this.#calls.collect();
    this.#clock.after(sweepTime, () => {
      this.#calls.collect(); // V8 releases pages that two collections in a row found empty
      this.#calls.release();
      const resident = this.#calls.resident();
      // Memory that connections hold, or have just dropped, is not part of the baseline.
      const temporary = Math.max(this.#held(), this.#garbage);
      if (temporary < checkThreshold || resident < this.#baseline) this.#baseline = resident;
      this.#isWaiting = false;
      this.noteGarbage(0); // there may be enough garbage again
    });
  }
}
