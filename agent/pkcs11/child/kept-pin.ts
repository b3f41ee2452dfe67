/** A PIN that is kept for reconnecting to its token, if the agent was started to do so. */

import type { Clock } from "../../host/clock.ts";

/** Timers stand still while a machine sleeps, so that none is set for longer than this. */
const maxWait = 60_000;

/** Keeps one PIN for a time, and overwrites it afterwards. */
export class KeptPin {
  readonly #clock: Clock;
  readonly #duration: number;
  #pin: Buffer | undefined;
  #end = 0;
  /** How often it was to be forgotten. */
  #forgettings = 0;
  #cancelTimer: (() => void) | undefined;

  /** @param seconds how long a PIN is kept since it was last given; 0 keeps none */
  constructor(clock: Clock, seconds: number) {
    this.#clock = clock;
    this.#duration = seconds * 1000;
  }

  /** The PIN, or undefined. It is not the caller's to change. */
  get pin(): Buffer | undefined {
    if (this.#pin !== undefined && this.#clock.now() >= this.#end) this.#overwrite();
    return this.#pin;
  }

  /** Keeps a copy of a PIN that was given and that its token has accepted; not of an empty one. */
  keep(pin: Buffer): void {
    if (this.#duration === 0 || pin.length === 0) return;
    this.#overwrite();
    this.#pin = Buffer.allocUnsafeSlow(pin.length);
    this.#pin.set(pin);
    this.#end = this.#clock.now() + this.#duration;
    this.#schedule();
  }

  /**
   * Notes that a PIN is about to be tried.
   * @returns what keeps it once the token has accepted it, unless PINs were to be forgotten meanwhile
   */
  beforeLogin(): (pin: Buffer) => void {
    const forgettings = this.#forgettings;
    return (pin) => {
      if (forgettings === this.#forgettings) this.keep(pin);
    };
  }

  /** Overwrites the PIN, and lets none be kept that is being tried. */
  forget(): void {
    this.#forgettings++;
    this.#overwrite();
  }

  #overwrite(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#pin?.fill(0);
    this.#pin = undefined;
  }

  #schedule(): void {
    const left = this.#end - this.#clock.now();
    if (left <= 0) {
      this.#overwrite();
      return;
    }
    this.#cancelTimer = this.#clock.after(Math.min(left, maxWait), () => this.#schedule());
  }
}
