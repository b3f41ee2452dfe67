/** One timer for the earliest of some moments, by the monotonic clock or by the wall clock. */
import type { Clock, WallClock } from "./host/clock.ts";

/**
 * The longest single wait, in milliseconds. Timers stop while the machine sleeps, and the wall clock may
 * be set, so longer waits are checked in between.
 */
const maxWait = 60_000;

/** Milliseconds on the clock, seconds since 1970, or whichever comes first; undefined for never. */
export interface Moment {
  readonly clock?: number | undefined;
  readonly wall?: bigint | undefined;
}

/** Calls back when the earliest moment may have come. */
export class EarliestTimer {
  readonly #clock: Clock;
  readonly #wallClock: WallClock;
  readonly #onDue: () => void;
  #cancel: (() => void) | undefined;

  /** @param onDue also called in between; it sets the timer again */
  constructor(clock: Clock, wallClock: WallClock, onDue: () => void) {
    this.#clock = clock;
    this.#wallClock = wallClock;
    this.#onDue = onDue;
  }

  /** Returns a predicate for the moments that have come now. */
  due(): (moment: Moment) => boolean {
    const [now, wallNow] = [this.#clock.now(), this.#wallClock()];
    return ({ clock, wall }) =>
      (clock !== undefined && clock <= now) || (wall !== undefined && wall <= wallNow);
  }

  /** Sets the timer to the first of some moments. */
  set(moments: Iterable<Moment>): void {
    this.#cancel?.();
    this.#cancel = undefined;
    const [now, wallNow] = [this.#clock.now(), this.#wallClock()];
    let first = Infinity;
    for (const { clock, wall } of moments) {
      if (clock !== undefined) first = Math.min(first, clock - now);
      if (wall !== undefined) first = Math.min(first, Number(wall - wallNow) * 1000);
    }
    if (first === Infinity) return;
    const wait = Math.min(Math.max(first, 0), maxWait);
    this.#cancel = this.#clock.after(wait, this.#onDue);
  }
}
