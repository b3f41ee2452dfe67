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
  t.deepEqual(calls, ["collect", "release"]);
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
  t.deepEqual(calls, ["collect", "release"]);
});

test("what connections hold when memory is given back is given back when they have gone", (t) => {
  const { calls, state, clock, collection } = makeProcess();
  Object.assign(state, { resident: 100 * megabyte, held: 30 * megabyte });
  collection.noteGarbage(3 * megabyte);
  clock.pass(2000);
  collection.noteGarbage(3 * megabyte);
  clock.pass(2000);
  t.deepEqual(calls, ["collect", "release", "collect", "release"]);
});
