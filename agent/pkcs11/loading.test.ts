/** Libraries that OpenSSH loads: a step that they refuse has a second way, or decides nothing. */
import test from "ava";
import { loaded, logins, sign } from "./test-hostile.ts";
import { stateOf } from "./test-registry.ts";

for (const words of [
  ["no-locking=0xa"], // CKR_CANT_LOCK
  ["no-locking=0x7"], // CKR_ARGUMENTS_BAD
  ["no-locking=0x9"], // CKR_NEED_TO_CREATE_THREADS
  ["no-arguments=0x7"],
  ["no-locking=0xa", "no-arguments=0x7"],
]) {
  const what = words.join(" ");
  test(`a library with ${what} is called on one thread`, async (t) => {
    const { module, provider } = await loaded(t, [...words, "one-thread", "login", "keys=2"]);
    const signatures = await Promise.all(Array.from({ length: 6 }, () => sign(provider)));
    t.deepEqual(new Set(signatures), new Set(["signed"]));
    module.behave(...words, "one-thread", "login", "needs-restart");
    t.is(await stateOf(provider), "pin-needed");
    t.is(module.calls().filter((call) => call === "finalize").length, 1);
    t.deepEqual(logins(module), ["login with a PIN"]);
  });
}

test("a library that locks is called on several threads", async (t) => {
  const { module, provider } = await loaded(t, []);
  t.is(module.calls().filter((call) => call === "initialize").length, 1);
  module.behave("hang-first-signature");
  const first = sign(provider);
  t.is(await sign(provider), "signed");
  module.behave();
  t.is(await first, "signed");
});

for (const name of ["info", "slot-info", "session-info", "close", "logout", "finalize"]) {
  test(`a library without the function for ${name} signs`, async (t) => {
    const { provider } = await loaded(t, [`missing-${name}`, "login", "removable"]);
    t.is(await stateOf(provider), "ready");
    t.is(await sign(provider), "signed");
  });
}

test("a library that reads the count that C_GetSlotList is given lists its slots", async (t) => {
  const { provider } = await loaded(t, ["count-read", "tokens=2"]);
  t.is(provider.tokens.length, 2);
  t.is(await sign(provider), "signed");
});
