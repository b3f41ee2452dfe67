/** One timer for all identities that expire, by the monotonic clock or by the wall clock. */
import type { Clock, WallClock } from "./host/clock.ts";

/**
 * The longest single wait, in milliseconds. Timers stop while the machine sleeps, and the wall clock may
 * be set, so longer waits are checked in between.
 */
const maxWait = 60_000;

/** When an identity expires: milliseconds on the clock, or seconds since 1970; undefined for never. */
export interface End {
  readonly expires?: number | undefined;
  readonly dropped?: bigint | undefined;
}

/** Calls back when the first identity may have expired. */
export class ExpiryTimer {
  readonly #clock: Clock;
  readonly #wallClock: WallClock;
  readonly #onDue: () => void;
  #cancel: (() => void) | undefined;

  constructor(clock: Clock, wallClock: WallClock, onDue: () => void) {
    this.#clock = clock;
    this.#wallClock = wallClock;
    this.#onDue = onDue;
  }

  /** Returns a predicate for the ends that have passed now. */
  due(): (end: End) => boolean {
    const [now, wallNow] = [this.#clock.now(), this.#wallClock()];
    return ({ expires, dropped }) =>
      (expires !== undefined && expires <= now) || (dropped !== undefined && dropped <= wallNow);
  }

  /** Sets the timer to the first of some ends. */
  set(ends: Iterable<End>): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const [now, wallNow] = [this.#clock.now(), this.#wallClock()];
    let first = Infinity;
    for (const { expires, dropped } of ends) {
      if (expires !== undefined) first = Math.min(first, expires - now);
      if (dropped !== undefined) first = Math.min(first, Number(dropped - wallNow) * 1000);
    }
    if (first === Infinity) return;
    const wait = Math.min(Math.max(first, 0), maxWait);
    this.#cancel = this.#clock.after(wait, this.#onDue);
  }
}
