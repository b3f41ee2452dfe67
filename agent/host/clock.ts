/** The agent's clock, which tests can replace. */
import { uptime } from "node:os";

/** A monotonic clock and its timers, in milliseconds. */
export interface Clock {
  /** Milliseconds since an arbitrary moment; the time that the machine was asleep counts. */
  now(): number;
  /** Calls `callback` once after `delay`; the returned function cancels it. */
  after(delay: number, callback: () => void): () => void;
}

/** The time of day, for the validity of certificates: seconds since 1970. */
export type WallClock = () => bigint;

/**
 * The machine's clock. `os.uptime` counts the time that the machine was asleep, as OpenSSH's agent
 * does: a key with a lifetime of an hour is gone when a laptop is opened the next morning.
 */
export const systemClock: Clock = {
  now: () => uptime() * 1000,
  after(delay, callback) {
    if (delay <= 0) {
      // Before the next read: a timer would wait for a millisecond.
      const immediate = setImmediate(callback);
      return () => clearImmediate(immediate);
    }
    const timer = setTimeout(callback, delay);
    timer.unref();
    return () => clearTimeout(timer);
  },
};

export const systemWallClock: WallClock = () => BigInt(Math.floor(Date.now() / 1000));
