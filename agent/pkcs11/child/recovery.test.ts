import test from "ava";
import { Failure } from "../../../protocol/failure.ts";
import {
  classify,
  nextRecoveryStep,
  PinMayBeSpent,
  type RecoveryStep,
  type Seen,
  type Situation,
} from "./recovery.ts";

const all: readonly Seen[] = [
  "final",
  "no-touch",
  "login-required",
  "session-lost",
  "device-error",
  "pin-may-be-spent",
  "other",
];

/** The steps for a token that fails the same way each time. */
function steps(seen: Seen, known: Partial<Situation> = {}): RecoveryStep[] {
  const taken: RecoveryStep[] = [];
  let tried: RecoveryStep | undefined;
  for (;;) {
    const login = { canLogIn: false, canLogInForOne: false, hasSeenWrongPin: () => false };
    const rest = { hadDeviceError: false, ...login };
    tried = nextRecoveryStep({ seen, tried, ...rest, ...known });
    taken.push(tried);
    if (tried === "give-up" || taken.length > 9) return taken;
  }
}

test("the steps always end, and a restart comes last", (t) => {
  for (const seen of all) {
    for (const canLogIn of [false, true]) {
      for (const hadDeviceError of [false, true]) {
        for (const isWrong of [false, true]) {
          const login = { canLogIn, canLogInForOne: canLogIn, hasSeenWrongPin: () => isWrong };
          const known = { hadDeviceError, ...login };
          const taken = steps(seen, known);
          t.is(taken.at(-1), "give-up");
          t.is(new Set(taken).size, taken.length, taken.join());
          if (taken.includes("restart")) t.is(taken.at(-2), "restart");
        }
      }
    }
  }
});

test("the steps go from the cheapest to a restart", (t) => {
  t.deepEqual(steps("session-lost"), ["reopen", "restart", "give-up"]);
  t.deepEqual(steps("device-error"), ["reopen", "restart", "give-up"]);
  t.deepEqual(steps("other"), ["reopen", "give-up"]);
  t.deepEqual(steps("pin-may-be-spent"), ["restart", "give-up"]);
  t.deepEqual(steps("login-required"), ["reopen", "give-up"]);
  t.deepEqual(steps("login-required", { canLogIn: true }), ["login", "give-up"]);
  const accepted = steps("login-required", { canLogIn: true, canLogInForOne: true });
  t.deepEqual(accepted, ["login", "log-in-for-one", "give-up"]);
  for (const seen of ["final", "no-touch"] as const) t.deepEqual(steps(seen), ["give-up"]);
});

test("the wrong-PIN flags are read only where they matter", (t) => {
  const hasSeenWrongPin = () => t.fail();
  for (const seen of all) steps(seen, { hasSeenWrongPin });
  t.pass();
});

test("CKR_ values are classified by what may help", (t) => {
  const seen = (value: string, waited = false) => classify(new Error(`${value}:1`), waited);
  t.is(seen("CKR_USER_NOT_LOGGED_IN"), "login-required");
  t.is(seen("CKR_SESSION_HANDLE_INVALID"), "session-lost");
  t.is(seen("CKR_SESSION_HANDLE_INVALID", true), "session-lost");
  t.is(seen("CKR_DEVICE_ERROR"), "device-error");
  t.is(seen("CKR_DEVICE_ERROR", true), "no-touch");
  t.is(seen("CKR_MECHANISM_INVALID", true), "final");
  t.is(seen("CKR_KEY_TYPE_INCONSISTENT"), "other");
  t.is(classify(new PinMayBeSpent(new Error("CKR_DEVICE_ERROR:48")), false), "pin-may-be-spent");
  t.is(classify(new PinMayBeSpent(new Error("CKR_DEVICE_REMOVED:50")), false), "session-lost");
  t.is(classify(new Failure("pin-required", "It asks."), false), "final");
});
