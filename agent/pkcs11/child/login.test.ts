import test from "ava";
import { TestClock } from "../../test-agent.ts";
import { pinOf } from "../test-registry.ts";
import { PinCache } from "./login.ts";

test("a PIN is cached for its time, then overwritten", (t) => {
  const clock = new TestClock();
  const cache = new PinCache(clock, 900);
  const given = pinOf("123456");
  cache.keep(given);
  given.fill(0);
  const bytes = cache.pin;
  t.is(bytes?.toString(), "123456");
  clock.pass(899_999);
  t.is(cache.pin, bytes);
  clock.pass(1);
  t.is(cache.pin, undefined);
  t.deepEqual(bytes, Buffer.alloc(6));
  t.deepEqual(clock.waits, []);
});

test("a cached PIN is overwritten at its end even if it is never read", (t) => {
  const clock = new TestClock();
  const cache = new PinCache(clock, 150);
  cache.keep(pinOf("123456"));
  const bytes = cache.pin;
  clock.pass(150_000);
  t.deepEqual(bytes, Buffer.alloc(6));
});

test("time in suspend counts toward the cache time", (t) => {
  /** During suspend, the clock advances but timers do not. */
  class SuspendedClock extends TestClock {
    slept = 0;
    override now(): number {
      return super.now() + this.slept;
    }
  }
  const clock = new SuspendedClock();
  const cache = new PinCache(clock, 3600);
  cache.keep(pinOf("123456"));
  const bytes = cache.pin;
  clock.slept = 3_600_000;
  t.is(cache.pin, undefined);
  t.deepEqual(bytes, Buffer.alloc(6));
});

test("a new PIN replaces the cached one and restarts its time", (t) => {
  const clock = new TestClock();
  const cache = new PinCache(clock, 60);
  cache.keep(pinOf("123456"));
  const first = cache.pin;
  clock.pass(50_000);
  cache.keep(pinOf("654321"));
  t.deepEqual(first, Buffer.alloc(6));
  clock.pass(50_000);
  t.is(cache.pin?.toString(), "654321");
  clock.pass(10_000);
  t.is(cache.pin, undefined);
});

test("a cache time of 0 and an empty PIN cache nothing", (t) => {
  const clock = new TestClock();
  const never = new PinCache(clock, 0);
  never.keep(pinOf("123456"));
  t.is(never.pin, undefined);
  const cache = new PinCache(clock, 60);
  cache.keep(pinOf(""));
  t.is(cache.pin, undefined);
  cache.keep(pinOf("123456"));
  cache.forget();
  t.is(cache.pin, undefined);
  t.deepEqual(clock.waits, []);
});
