/**
 * A child process that is started before a library is named.
 *
 * Starting a process takes longer than loading most libraries. A user who types a PIN does not
 * notice, but a script that loads one library after another would wait. So the agent keeps a spare
 * process for a while, from the first use of cards on, whenever no library is loaded.
 */
import type { Child } from "./child-process.ts";

/** When a spare process is started and ended, in milliseconds. */
export interface SpareTimes {
  /** Delay before the start, which leaves the processor to the current request. */
  readonly delay: number;
  /** How long it is kept unused. */
  readonly life: number;
}

export const defaultSpareTimes: SpareTimes = { delay: 20, life: 60_000 };

/** Milliseconds for the process to exit by itself. */
const endTime = 1000;

/** Starts child processes, one of them ahead of time. */
export class SpareChild {
  readonly #start: () => Child;
  readonly #times: SpareTimes | undefined;
  #spare: Child | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param times undefined for no process ahead of time */
  constructor(start: () => Child, times: SpareTimes | undefined) {
    this.#start = start;
    this.#times = times;
  }

  /** Starts a spare process after the delay, and ends it if it stays unused. */
  keep(): void {
    if (this.#times === undefined) return;
    const { delay, life } = this.#times;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#spare?.running !== true) this.#spare = this.#start();
      this.#timer = setTimeout(() => this.#drop(), life).unref();
    }, delay).unref();
  }

  /** A process that has not loaded a library: the spare one, or else a new one. */
  take(): Child {
    clearTimeout(this.#timer);
    const spare = this.#spare;
    this.#spare = undefined;
    return spare?.running === true ? spare : this.#start();
  }

  #drop(): void {
    void this.#spare?.close(endTime);
    this.#spare = undefined;
  }
}
