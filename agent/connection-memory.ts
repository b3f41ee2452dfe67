/**
 * What all connections together may hold of the agent's memory: requests that are unfinished or wait,
 * and replies that nobody reads.
 *
 * A connection that holds little is never held up. For more, the rest of a long request or a long
 * reply, it needs a turn, and only so many have one at once; the others wait in order. Whoever has a
 * turn and stands still while others wait loses it, and its connection; so does, when all hold too
 * much, the one that has stood still for longest.
 */
import type { Clock } from "./host/clock.ts";

/** A connection, as far as its memory goes. */
export interface MemoryHolder {
  /** It has its turn now. */
  resume(): void;
  /** It is to be closed, and to call `leave`. */
  end(reason: string): void;
}

/** Bytes that a connection may hold without a turn. Nearly all requests and replies are shorter. */
export const fewBytes = 8 * 1024;

/** Connections that have a turn at once: each may come to hold a frame of 256 KiB. */
const maxTurns = 64;

/** Bytes that all those hold together which hold more than a few. */
const maxBytes = 32 * 1024 * 1024;

/** Milliseconds in which a connection that has a turn, and for which others wait, has to move. */
const standstill = 1000;

/** The connections of an agent. */
export class ConnectionMemory {
  readonly #clock: Clock;
  /** What each holds that holds more than a few bytes; the one first that stands still for longest. */
  readonly #held = new Map<MemoryHolder, number>();
  #total = 0;
  /** Who has a turn, and whether it has moved since it was last looked at. */
  readonly #turns = new Map<MemoryHolder, boolean>();
  readonly #waiting = new Set<MemoryHolder>();
  #isWatching = false;
  #isAdmitting = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Bytes that all those hold together which hold more than a few. */
  get total(): number {
    return this.#total;
  }

  /** Notes what a connection holds, when bytes have come to it or gone from it. */
  note(holder: MemoryHolder, bytes: number): void {
    const before = this.#held.get(holder);
    if (bytes <= fewBytes) {
      if (before !== undefined) this.#forget(holder, before);
      return;
    }
    this.#held.delete(holder);
    this.#held.set(holder, bytes);
    this.#total += bytes - (before ?? 0);
    if (this.#turns.has(holder)) this.#turns.set(holder, true);
    for (const [stillest] of this.#held) {
      if (this.#total <= maxBytes) break;
      stillest.end("all connections together hold too much memory");
    }
  }

  /** Whether a turn would be had at once. */
  get hasFreeTurn(): boolean {
    return this.#turns.size < maxTurns && this.#waiting.size === 0;
  }

  /**
   * Whether a connection may take up more memory now: a frame's worth. If not, it waits for its
   * turn, unless it waits already.
   */
  takeTurn(holder: MemoryHolder): boolean {
    if (this.#turns.has(holder)) return true;
    if (this.hasFreeTurn) {
      this.#turns.set(holder, true);
      return true;
    }
    this.#waiting.add(holder);
    this.#watch();
    return false;
  }

  /** Ends a connection's turn, if it has one. */
  endTurn(holder: MemoryHolder): void {
    if (this.#turns.delete(holder) || this.#waiting.delete(holder)) this.#admit();
  }

  /** The connection is closed. */
  leave(holder: MemoryHolder): void {
    this.#forget(holder, this.#held.get(holder) ?? 0);
    this.endTurn(holder);
  }

  #forget(holder: MemoryHolder, bytes: number): void {
    this.#held.delete(holder);
    this.#total -= bytes;
  }

  /** Gives turns to those that wait. Who has one may end it at once, hence the loop. */
  #admit(): void {
    if (this.#isAdmitting) return;
    this.#isAdmitting = true;
    for (const holder of this.#waiting) {
      if (this.#turns.size >= maxTurns) break;
      this.#waiting.delete(holder);
      this.#turns.set(holder, true);
      holder.resume();
    }
    this.#isAdmitting = false;
  }

  #watch(): void {
    if (this.#isWatching || this.#waiting.size === 0) return;
    this.#isWatching = true;
    this.#clock.after(standstill, () => {
      this.#isWatching = false;
      for (const [holder, hasMoved] of this.#turns) {
        if (hasMoved) this.#turns.set(holder, false);
        else holder.end("it stood still while others waited for memory");
      }
      this.#watch();
    });
  }
}
