import test from "ava";
import { Pace } from "./pace.ts";

test("a card's key is always signed with on another thread", (t) => {
  const pace = new Pace();
  for (let at = 0; at < 10; at++) {
    t.false(pace.atOnce(true));
    pace.noteElsewhere(90_000);
  }
});

test("a quick key is signed with at once, even in a crowd", (t) => {
  const pace = new Pace();
  pace.noteElsewhere(250);
  t.true(pace.atOnce(true));
  pace.noteAtOnce(80);
  t.true(pace.atOnce(false));
});

test("a key of some speed is signed with at once only when nobody waits", (t) => {
  const pace = new Pace();
  pace.noteElsewhere(1100);
  pace.noteAtOnce(900);
  t.true(pace.atOnce(true));
  t.false(pace.atOnce(false));
});

test("a single delay changes nothing, and a key that became slow is noticed", (t) => {
  const pace = new Pace();
  pace.noteElsewhere(250);
  pace.noteAtOnce(80);
  pace.noteAtOnce(50_000);
  t.true(pace.atOnce(false));
  for (let at = 0; at < 100; at++) pace.noteAtOnce(50_000);
  t.false(pace.atOnce(true));
});

test("a key that failed three trials is tried no more", (t) => {
  const pace = new Pace();
  pace.noteElsewhere(2000);
  for (let at = 0; at < 3; at++) {
    t.true(pace.atOnce(true));
    pace.noteAtOnce(9000);
  }
  t.false(pace.atOnce(true));
});

test("what fails is no proof of speed", (t) => {
  const pace = new Pace();
  pace.noteElsewhere(2000);
  for (let at = 0; at < 3; at++) {
    t.true(pace.atOnce(true));
    pace.noteFailure();
  }
  t.false(pace.atOnce(true));
  t.false(pace.isQuick);
});
