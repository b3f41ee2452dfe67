/**
 * The private keys that are in the clear, for as short as can be: one that has not been used for a
 * minute is shielded, and what was shielded or removed is soon collected.
 */
import type { Clock } from "../host/clock.ts";

/** Milliseconds between looks at the keys that are open. */
const lookInterval = 5_000;

/**
 * Milliseconds without use after which a key is shielded. A use is up to one look later than it is
 * noted, and the collection takes two seconds at most: no key is in the clear after a minute.
 */
const maxUnused = 55_000;

/**
 * Milliseconds from the end of a key to the first moment at which it may be collected, and between
 * more of those, as long as there are signatures. It is collected at the last of them in any case.
 */
const collectAfter = 500;
const collectInterval = 250;
const collectTries = 5;

/** A private key that is in the clear. */
interface OpenKey {
  /** When it was used last, on the clock of `OpenKeys`. */
  usedAt: number;
  shield(): void;
}

/** Knows which keys are open. */
export class OpenKeys {
  readonly #clock: Clock;
  readonly #collect: () => void;
  readonly #open = new Set<OpenKey>();
  /** When the keys were looked at: a signature reads no clock. */
  #now = 0;
  #willLook = false;
  #signatures = 0;
  #willCollect = false;

  /** @param collect collects all garbage; see `garbageCollector` */
  constructor(clock: Clock, collect: () => void) {
    this.#clock = clock;
    this.#collect = collect;
  }

  noteOpened(key: OpenKey): void {
    if (!this.#willLook) this.#lookLater();
    this.#open.add(key);
    key.usedAt = this.#now;
  }

  noteUse(key: OpenKey): void {
    key.usedAt = this.#now;
    this.#signatures++;
  }

  noteShielded(key: OpenKey): void {
    this.#open.delete(key);
    this.collectSoon();
  }

  /** Shields all keys. */
  shieldAll(): void {
    for (const key of this.#open) key.shield();
  }

  /** Has garbage collected within two seconds, when nothing is being signed if that can be. */
  collectSoon(): void {
    if (this.#willCollect) return;
    this.#willCollect = true;
    this.#collectAfter(collectAfter, collectTries);
  }

  #collectAfter(delay: number, tries: number): void {
    const before = this.#signatures;
    this.#clock.after(delay, () => {
      const isBusy = this.#signatures !== before;
      if (isBusy && tries > 1) return this.#collectAfter(collectInterval, tries - 1);
      this.#willCollect = false;
      this.#collect();
    });
  }

  #lookLater(): void {
    this.#willLook = true;
    this.#now = this.#clock.now();
    this.#clock.after(lookInterval, () => this.#look());
  }

  #look(): void {
    const now = this.#clock.now();
    for (const key of this.#open) if (now - key.usedAt >= maxUnused) key.shield();
    this.#willLook = false;
    if (this.#open.size > 0) this.#lookLater();
  }
}
