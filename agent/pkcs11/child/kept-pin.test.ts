import test from "ava";
import { TestClock } from "../../test-agent.ts";
import { pinOf } from "../test-registry.ts";
import { KeptPin } from "./kept-pin.ts";

test("a PIN is kept for its time and overwritten then", (t) => {
  const clock = new TestClock();
  const kept = new KeptPin(clock, 900);
  const given = pinOf("123456");
  kept.keep(given);
  given.fill(0);
  const bytes = kept.pin;
  t.is(bytes?.toString(), "123456");
  clock.pass(899_999);
  t.is(kept.pin, bytes);
  clock.pass(1);
  t.is(kept.pin, undefined);
  t.deepEqual(bytes, Buffer.alloc(6));
  t.deepEqual(clock.waits, []);
});

test("nobody has to ask for it to be overwritten in time", (t) => {
  const clock = new TestClock();
  const kept = new KeptPin(clock, 150);
  kept.keep(pinOf("123456"));
  const bytes = kept.pin;
  clock.pass(150_000);
  t.deepEqual(bytes, Buffer.alloc(6));
});

test("the time that a machine sleeps counts", (t) => {
  /** Timers stand still while a machine sleeps, and its clock goes on. */
  class Sleeping extends TestClock {
    slept = 0;
    override now(): number {
      return super.now() + this.slept;
    }
  }
  const clock = new Sleeping();
  const kept = new KeptPin(clock, 3600);
  kept.keep(pinOf("123456"));
  const bytes = kept.pin;
  clock.slept = 3_600_000;
  t.is(kept.pin, undefined);
  t.deepEqual(bytes, Buffer.alloc(6));
});

test("a PIN that is given again is kept from then on", (t) => {
  const clock = new TestClock();
  const kept = new KeptPin(clock, 60);
  kept.keep(pinOf("123456"));
  const first = kept.pin;
  clock.pass(50_000);
  kept.keep(pinOf("654321"));
  t.deepEqual(first, Buffer.alloc(6));
  clock.pass(50_000);
  t.is(kept.pin?.toString(), "654321");
  clock.pass(10_000);
  t.is(kept.pin, undefined);
});

test("without a time, and for an empty one, nothing is kept", (t) => {
  const clock = new TestClock();
  const never = new KeptPin(clock, 0);
  never.keep(pinOf("123456"));
  t.is(never.pin, undefined);
  const kept = new KeptPin(clock, 60);
  kept.keep(pinOf(""));
  t.is(kept.pin, undefined);
  kept.keep(pinOf("123456"));
  kept.forget();
  t.is(kept.pin, undefined);
  t.deepEqual(clock.waits, []);
});
