/**
 * A child process that is there before a library is named.
 *
 * To start one takes longer than most libraries take to load. Where somebody types a PIN, nobody
 * notices; a script that loads one library after another would wait. So the agent has one ready for a
 * while, from the first sign that cards are used on, whenever no library is loaded.
 */
import type { Child } from "./child-process.ts";

/** When there is a spare process, in milliseconds. */
export interface SpareTimes {
  /** What is under way when it is wanted has the machine to itself for this long. */
  readonly delay: number;
  /** How long it waits to be needed. */
  readonly life: number;
}

export const defaultSpareTimes: SpareTimes = { delay: 20, life: 60_000 };

/** Milliseconds that the process has to end by itself. */
const endTime = 1000;

/** Starts child processes, one of them ahead of time. */
export class SpareChild {
  readonly #start: () => Child;
  readonly #times: SpareTimes | undefined;
  #waiting: Child | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param times undefined for no process ahead of time */
  constructor(start: () => Child, times: SpareTimes | undefined) {
    this.#start = start;
    this.#times = times;
  }

  /** Sees to it that a process is ready soon, and for a while. */
  keep(): void {
    if (this.#times === undefined) return;
    const { delay, life } = this.#times;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#waiting?.running !== true) this.#waiting = this.#start();
      this.#timer = setTimeout(() => this.#drop(), life).unref();
    }, delay).unref();
  }

  /** A process that has loaded no library: the one that is ready, or else a new one. */
  take(): Child {
    clearTimeout(this.#timer);
    const ready = this.#waiting;
    this.#waiting = undefined;
    return ready?.running === true ? ready : this.#start();
  }

  #drop(): void {
    void this.#waiting?.close(endTime);
    this.#waiting = undefined;
  }
}
