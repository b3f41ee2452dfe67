/** One timer for all that ends: by a clock that also counts sleep, or by the time of day. */
import type { Clock, WallClock } from "./host/clock.ts";

/**
 * A timer longer than this is set again: meanwhile the machine may have slept, while timers stand
 * still, and the time of day may have been set.
 */
const maxWait = 60_000;

/** When something ends: milliseconds on the clock, or seconds since 1970; undefined for never. */
export interface End {
  readonly expires?: number | undefined;
  readonly dropped?: bigint | undefined;
}

/** Calls back when the first of several ends may have come. */
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

  /** Whether an end has come, as both clocks are now. */
  due(): (end: End) => boolean {
    const [now, wallNow] = [this.#clock.now(), this.#wallClock()];
    return ({ expires, dropped }) =>
      (expires !== undefined && expires <= now) || (dropped !== undefined && dropped <= wallNow);
  }

  /** Sets the timer for the first of these ends. */
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
