/**
 * Keeps private keys in the clear as briefly as possible: a key unused for a minute is shielded,
 * and the memory of shielded and removed keys is soon collected.
 */
import type { Clock } from "../host/clock.ts";

/** Milliseconds between checks for unused keys. */
const checkInterval = 5_000;

/**
 * Milliseconds without use after which a key is shielded. A use is recorded with the time of the
 * check before it, and the collection takes two seconds at most: no key stays in the clear for more
 * than a minute without use.
 */
const maxUnused = 55_000;

/**
 * Milliseconds from shielding a key to the first attempt to collect it, and between further
 * attempts, which are made while there are signatures. The last attempt always collects.
 */
const collectAfter = 500;
const collectInterval = 250;
const collectTries = 5;

/** A private key that can be in the clear. */
interface OpenKey {
  /** The time of its last use, on the clock of `OpenKeys`. */
  usedAt: number;
  /** Does nothing for a key that was removed. */
  open(): void;
  shield(): void;
}

/** The keys that are in the clear. */
export class OpenKeys {
  readonly #clock: Clock;
  readonly #collect: () => void;
  readonly #open = new Set<OpenKey>();
  /** The time of the last check: a signature reads no clock. */
  #now = 0;
  #willCheck = false;
  #signatures = 0;
  #lastUsed: OpenKey | undefined;
  #willCollect = false;

  /** @param collect collects all garbage; see `garbageCollector` */
  constructor(clock: Clock, collect: () => void) {
    this.#clock = clock;
    this.#collect = collect;
  }

  noteOpened(key: OpenKey): void {
    if (!this.#willCheck) this.#scheduleCheck();
    this.#open.add(key);
    key.usedAt = this.#now;
  }

  noteUse(key: OpenKey): void {
    key.usedAt = this.#now;
    this.#lastUsed = key;
    this.#signatures++;
  }

  /**
   * Opens the key that was used last, since it is likely to sign soon: this takes a millisecond that the
   * signature then does not. Unless it signs, the next check shields it again.
   */
  openLastUsed(): void {
    const key = this.#lastUsed;
    if (key === undefined || this.#open.has(key)) return;
    key.open();
    key.usedAt = this.#now - maxUnused;
  }

  noteShielded(key: OpenKey): void {
    this.#open.delete(key);
    this.collectSoon();
  }

  /** Shields all keys. */
  shieldAll(): void {
    for (const key of this.#open) key.shield();
  }

  /** Collects garbage within two seconds, between signatures if possible. */
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

  #scheduleCheck(): void {
    this.#willCheck = true;
    this.#now = this.#clock.now();
    this.#clock.after(checkInterval, () => this.#check());
  }

  #check(): void {
    const now = this.#clock.now();
    for (const key of this.#open) if (now - key.usedAt >= maxUnused) key.shield();
    this.#willCheck = false;
    if (this.#open.size > 0) this.#scheduleCheck();
  }
}
