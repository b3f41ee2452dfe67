/**
 * A child process that is there before a library is named.
 *
 * To start one takes longer than most libraries take to load. Where somebody types a PIN, nobody
 * notices; a script that starts an agent, or unloads a library, and then loads one, would wait. So
 * the agent has one ready for a while after either, and none when it is idle.
 */
import type { Helper } from "./helper.ts";

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
export class SpareHelper {
  readonly #start: () => Helper;
  readonly #times: SpareTimes | undefined;
  #waiting: Helper | undefined;
  #timer: NodeJS.Timeout | undefined;

  /** @param times undefined for no process ahead of time */
  constructor(start: () => Helper, times: SpareTimes | undefined) {
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
  take(): Helper {
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
