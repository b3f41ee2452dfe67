/** Microseconds up to which a signature is made where it is asked for, whatever else is to be done. */
const always = 250;
/** Microseconds up to which it is, when nothing else is to be done. */
const whenAlone = 3000;

/**
 * Whether a key signs so quickly that the way to another thread and back would cost more than it
 * gains. Cards never do; software tokens do. Measured, because nothing else tells.
 */
export class Pace {
  /** Microseconds of a signature made at once, smoothed. */
  #average: number | undefined;
  #trials = 3;
  #worthATrial = false;

  /** Whether to sign on the thread that asks. @param alone whether no other signature waits */
  atOnce(alone: boolean): boolean {
    if (this.#average === undefined) return this.#worthATrial && this.#trials > 0;
    return this.#average <= always || (alone && this.#average <= whenAlone);
  }

  /** Whether the key is known to sign within little time, as those of software tokens do. */
  get isQuick(): boolean {
    return this.#average !== undefined;
  }

  /** Takes note of the microseconds of a signature that was made at once. */
  noteAtOnce(micros: number): void {
    if (this.#average !== undefined) {
      this.#average += (Math.min(micros, 2 * this.#average) - this.#average) / 8;
    } else if (micros <= whenAlone) this.#average = micros;
    else this.#trials--;
  }

  /** Takes note that a signature failed at once; for how long that took tells nothing of others. */
  noteFailure(): void {
    this.noteAtOnce(Number.POSITIVE_INFINITY);
  }

  /** Takes note of the microseconds of a signature that was made on another thread. */
  noteElsewhere(micros: number): void {
    if (micros <= whenAlone) this.#worthATrial = true;
  }
}
