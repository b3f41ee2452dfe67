import test from "ava";
import { TestClock } from "../test-agent.ts";
import { IdleCollection } from "./garbage.ts";

const megabyte = 1024 * 1024;

/** A process whose resident memory a test sets, and the calls that were made. */
function makeProcess() {
  const calls: string[] = [];
  const state = { resident: 50 * megabyte, held: 0 };
  const clock = new TestClock();
  const collection = new IdleCollection(
    clock,
    {
      resident: () => state.resident,
      collect: () => calls.push("collect"),
      release: () => calls.push("release"),
    },
    () => state.held,
  );
  return { calls, state, clock, collection };
}

test("memory is returned to the system after a burst, once the agent is idle", (t) => {
  const { calls, state, clock, collection } = makeProcess();
  state.resident = 90 * megabyte;
  collection.noteGarbage(3 * megabyte);
  for (let at = 0; at < 20; at++) {
    collection.noteArrival();
    clock.pass(200);
  }
  t.deepEqual(calls, []);
  clock.pass(500);
  t.deepEqual(calls, ["collect"]);
  state.resident = 60 * megabyte;
  clock.pass(1000);
  t.deepEqual(calls, ["collect", "collect", "release"]);
  t.deepEqual(clock.waits, []);
});

test("nothing is collected while resident memory does not grow", (t) => {
  const { calls, state, clock, collection } = makeProcess();
  state.resident = 60 * megabyte;
  for (let at = 0; at < 10; at++) {
    collection.noteGarbage(3 * megabyte);
    clock.pass(1000);
  }
  collection.noteGarbage(1000);
  t.deepEqual(calls, []);
  t.deepEqual(clock.waits, []);
});

test("memory that stays in use is not collected again and again", (t) => {
  const { calls, state, clock, collection } = makeProcess();
  state.resident = 100 * megabyte;
  for (let at = 0; at < 10; at++) {
    collection.noteGarbage(3 * megabyte);
    clock.pass(2000);
  }
  t.deepEqual(calls, ["collect", "collect", "release"]);
});

test("memory that connections hold during a collection is returned when they close", (t) => {
  const { calls, state, clock, collection } = makeProcess();
  Object.assign(state, { resident: 110 * megabyte, held: 16 * megabyte });
  collection.noteGarbage(3 * megabyte);
  clock.pass(2000);
  state.held = 0;
  collection.noteGarbage(3 * megabyte);
  clock.pass(2000);
  t.deepEqual(calls, ["collect", "collect", "release", "collect", "collect", "release"]);
});

test("garbage that appears during a collection is collected after it", (t) => {
  const { calls, state, clock, collection } = makeProcess();
  state.resident = 110 * megabyte;
  state.held = 16 * megabyte;
  collection.noteGarbage(3 * megabyte);
  clock.pass(500);
  t.deepEqual(calls, ["collect"]);
  collection.noteGarbage(16 * megabyte);
  state.held = 0;
  state.resident = 90 * megabyte;
  clock.pass(3000);
  t.deepEqual(calls, ["collect", "collect", "release", "collect", "collect", "release"]);
});

test("bytes that are dropped in a burst are collected during the burst", (t) => {
  const { calls, collection } = makeProcess();
  for (let at = 0; at < 100; at++) collection.noteDropped(megabyte);
  t.deepEqual(calls, ["collect", "collect", "collect"]);
});
