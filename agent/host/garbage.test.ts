import test from "ava";
import { TestClock } from "../test-agent.ts";
import { IdleCollection } from "./garbage.ts";

const megabyte = 1024 * 1024;

/** A process whose memory is what a test says, and what was done to it. */
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

test("memory is given back after a burst, once nothing has come for a moment", (t) => {
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

test("nothing is collected for work that leaves memory as it was", (t) => {
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

test("what the agent needs for long is not collected again and again", (t) => {
  const { calls, state, clock, collection } = makeProcess();
  state.resident = 100 * megabyte;
  for (let at = 0; at < 10; at++) {
    collection.noteGarbage(3 * megabyte);
    clock.pass(2000);
  }
  t.deepEqual(calls, ["collect", "collect", "release"]);
});

test("what connections hold when memory is given back is given back when they have gone", (t) => {
  const { calls, state, clock, collection } = makeProcess();
  Object.assign(state, { resident: 110 * megabyte, held: 16 * megabyte });
  collection.noteGarbage(3 * megabyte);
  clock.pass(2000);
  state.held = 0;
  collection.noteGarbage(3 * megabyte);
  clock.pass(2000);
  t.deepEqual(calls, ["collect", "collect", "release", "collect", "collect", "release"]);
});

test("what becomes garbage while memory is given back is given back after it", (t) => {
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

test("what is dropped in a rush is collected while it comes", (t) => {
  const { calls, collection } = makeProcess();
  for (let at = 0; at < 100; at++) collection.noteDropped(megabyte);
  t.deepEqual(calls, ["collect", "collect", "collect"]);
});
