import test from "ava";
import { clearActivation, findActivation } from "./activation.ts";

test("without both variables there is no socket activation", (t) => {
  for (const environment of [{}, { LISTEN_FDS: "1" }, { LISTEN_PID: "5" }]) {
    t.deepEqual(findActivation(environment, 5), { kind: "none" });
  }
});

const refusals: readonly [string, string, string][] = [
  ["2", "5", 'unexpected LISTEN_FDS contents (want "1" got "2")'],
  ["", "5", 'unexpected LISTEN_FDS contents (want "1" got "")'],
  ["1", "x", "invalid LISTEN_PID: invalid"],
  ["1", "4711", "bad LISTEN_PID: 4711 vs pid 5"],
];

for (const [LISTEN_FDS, LISTEN_PID, message] of refusals) {
  test(`LISTEN_FDS=${LISTEN_FDS} LISTEN_PID=${LISTEN_PID} is refused`, (t) => {
    t.deepEqual(findActivation({ LISTEN_FDS, LISTEN_PID }, 5), { kind: "bad", message });
  });
}

test("the variables are not passed on to other programs", (t) => {
  const environment = { LISTEN_PID: "5", LISTEN_FDS: "1", LISTEN_FDNAMES: "x", HOME: "/" };
  clearActivation(environment);
  t.deepEqual(environment, { HOME: "/" });
});
