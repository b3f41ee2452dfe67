/**
 * Limits the memory that all connections together hold: requests that are unfinished or queued, and
 * replies that the client has not read.
 *
 * A connection holds up to `maxBytesWithoutSlot` freely. For more (the rest of a long request or of a
 * long reply) it needs one of `maxSlots` slots, which are granted first come, first served. A connection
 * that makes no progress in its slot while others wait is closed. Above `maxTotalBytes`, the connection
 * that has been idle longest is closed.
 */
import type { Clock } from "./host/clock.ts";

/** A connection as its memory is accounted for. */
export interface MemoryHolder {
  /** Called when the connection gets the slot that it waited for. */
  resume(): void;
  /** Closes the connection, which then calls `leave`. */
  end(reason: string): void;
}

/** Bytes that a connection holds without a slot. Nearly all requests and replies are shorter. */
export const maxBytesWithoutSlot = 8 * 1024;

/** Each connection in a slot may hold a frame of 256 KiB. */
const maxSlots = 64;

/** The total of all connections above `maxBytesWithoutSlot`. */
const maxTotalBytes = 32 * 1024 * 1024;

/** Milliseconds without progress after which a slot is taken away, if others wait for one. */
const stallTimeout = 1000;

/** The memory of an agent's connections. */
export class ConnectionMemory {
  readonly #clock: Clock;
  /** Bytes of each connection above `maxBytesWithoutSlot`; the least recently active one first. */
  readonly #held = new Map<MemoryHolder, number>();
  #total = 0;
  /** The connections in a slot, and whether each has made progress since the last check. */
  readonly #slots = new Map<MemoryHolder, boolean>();
  readonly #waiting = new Set<MemoryHolder>();
  #isWatching = false;
  #isGranting = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Bytes of all connections above `maxBytesWithoutSlot`. */
  get total(): number {
    return this.#total;
  }

  /** Records what a connection holds now, after it received or sent bytes. */
  update(holder: MemoryHolder, bytes: number): void {
    const before = this.#held.get(holder);
    if (bytes <= maxBytesWithoutSlot) {
      if (before !== undefined) this.#forget(holder, before);
      return;
    }
    this.#held.delete(holder);
    this.#held.set(holder, bytes);
    this.#total += bytes - (before ?? 0);
    if (this.#slots.has(holder)) this.#slots.set(holder, true);
    for (const [leastActive] of this.#held) {
      if (this.#total <= maxTotalBytes) break;
      leastActive.end("all connections together hold too much memory");
    }
  }

  /** Whether `acquireSlot` would succeed at once. */
  get hasFreeSlot(): boolean {
    return this.#slots.size < maxSlots && this.#waiting.size === 0;
  }

  /** Takes a slot for a connection, or queues it for one. Returns whether it has a slot now. */
  acquireSlot(holder: MemoryHolder): boolean {
    if (this.#slots.has(holder)) return true;
    if (this.hasFreeSlot) {
      this.#slots.set(holder, true);
      return true;
    }
    this.#waiting.add(holder);
    this.#watch();
    return false;
  }

  /** Gives up a connection's slot, or its place in the queue. */
  releaseSlot(holder: MemoryHolder): void {
    if (this.#slots.delete(holder) || this.#waiting.delete(holder)) this.#grant();
  }

  /** Forgets a connection that is closed. */
  leave(holder: MemoryHolder): void {
    this.#forget(holder, this.#held.get(holder) ?? 0);
    this.releaseSlot(holder);
  }

  #forget(holder: MemoryHolder, bytes: number): void {
    this.#held.delete(holder);
    this.#total -= bytes;
  }

  /** Grants free slots. `resume` may release its slot at once; the loop then grants it again. */
  #grant(): void {
    if (this.#isGranting) return;
    this.#isGranting = true;
    for (const holder of this.#waiting) {
      if (this.#slots.size >= maxSlots) break;
      this.#waiting.delete(holder);
      this.#slots.set(holder, true);
      holder.resume();
    }
    this.#isGranting = false;
  }

  /** Closes stalled connections for as long as others wait. */
  #watch(): void {
    if (this.#isWatching || this.#waiting.size === 0) return;
    this.#isWatching = true;
    this.#clock.after(stallTimeout, () => {
      this.#isWatching = false;
      for (const [holder, hasProgressed] of this.#slots) {
        if (hasProgressed) this.#slots.set(holder, false);
        else holder.end("no progress while others waited for memory");
      }
      this.#watch();
    });
  }
}
