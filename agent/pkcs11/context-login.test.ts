/** Keys that need their PIN at each signature, and say otherwise, or the reverse. */
import test from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { loaded, logins, sign } from "./test-hostile.ts";
import { makeUser } from "./test-user.ts";

const silent = ["login", "always-authenticate", "says-otherwise", "tries=3"];
const forOne = "login for a signature with a PIN";

test("a key that needs its PIN at each signature without saying so gets it", async (t) => {
  const { module, provider } = await loaded(t, silent, { keepPin: 3600 });
  t.is(await sign(provider), "signed");
  t.deepEqual(logins(module), ["login with a PIN", "login with a PIN", forOne]);
  t.is(await sign(provider), "signed");
  t.deepEqual(logins(module).slice(3), [forOne]);
  module.behave(...silent, "epoch=2");
  t.is(await sign(provider), "signed");
  t.deepEqual(logins(module).slice(4), ["login with a PIN", forOne]);
  t.is(module.wrongPins(), 0);
});

test("for such a key, the user is asked once per signature", async (t) => {
  const { module, provider } = await loaded(t, silent);
  const user = makeUser(hostilePin);
  for (let count = 1; count <= 3; count++) {
    t.is(await sign(provider, user.interaction), "signed");
    t.is(user.asked.length, count);
  }
  t.is(module.wrongPins(), 0);
});

test("a token with another PIN for signatures costs one try of the cached one", async (t) => {
  const { module, provider } = await loaded(t, [...silent, "context-pin=9876"], { keepPin: 3600 });
  t.is(await sign(provider), "pin-required");
  for (let count = 0; count < 3; count++) t.is(await sign(provider), "pin-required");
  t.is(module.wrongPins(), 1);
});

test("a key that says that it needs its PIN at each signature may not need it", async (t) => {
  for (const error of ["0x103", "0x100", "0x104", "0x105", "0x54", "0x91"]) {
    const faults = ["login", "says-otherwise", "tries=3", `context-error=${error}`];
    const { module, provider } = await loaded(t, faults);
    const user = makeUser(hostilePin);
    t.is(await sign(provider, user.interaction), "signed", error);
    t.is(await sign(provider, user.interaction), "signed", error);
    t.is(user.asked.length, 1);
    t.deepEqual(logins(module), ["login with a PIN", forOne]);
    module.behave(...faults, "epoch=2");
    t.is(await sign(provider, user.interaction), "signed", error);
    t.is(module.wrongPins(), 0);
  }
});

test("a token without that login may still ask for it", async (t) => {
  const faults = ["login", "always-authenticate", "context-error=0x103"];
  const { provider } = await loaded(t, faults, { keepPin: 3600 });
  t.is(await sign(provider), "pin-required");
  t.is(await sign(provider), "pin-required");
});
