import { writeFileSync } from "node:fs";
import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { type Held, hostilePin } from "../../fixtures/hostile-module/index.ts";
import type { UserInteraction } from "../signer.ts";
import {
  killChild,
  loaded,
  logins,
  prepare,
  refused,
  sent,
  sign,
  signOnce,
} from "./test-hostile.ts";
import { noUser, pinOf } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";

const eachTime = ["login", "always-authenticate", "tries=3"];

test("a wrong cached PIN is tried once for concurrent signatures", async (t) => {
  const { module, provider } = await loaded(t, eachTime, { keepPin: 3600 });
  t.is(await sign(provider), "signed");
  const login = module.holdAt("login", ...eachTime, "pin=9876");
  const signing = [sign(provider)];
  t.true(await login.reached());
  for (let at = 0; at < 3; at++) signing.push(sign(provider));
  await sent();
  login.goOn();
  t.deepEqual(new Set(await Promise.all(signing)), new Set(["pin-required"]));
  t.is(module.wrongPins(), 1);
});

test("after a wrong cached PIN a single signature asks the user", async (t) => {
  const { module, provider } = await loaded(t, eachTime, { keepPin: 3600 });
  module.behave(...eachTime, "pin=9876");
  const user = makeUser("9876");
  t.is(await sign(provider, user.interaction), "signed");
  t.is(user.asked.length, 1);
});

test("prompts queued behind a refused PIN fail with it", async (t) => {
  const { module, provider } = await loaded(t, eachTime);
  const wrong = makeUser("0000", "0000", hostilePin);
  const signing = Array.from({ length: 3 }, () => sign(provider, wrong.interaction));
  t.deepEqual(await Promise.all(signing), ["pin-incorrect", "pin-incorrect", "pin-incorrect"]);
  t.is(wrong.asked.length, 1);
  t.is(await sign(provider, wrong.interaction), "pin-last-try");
  t.is(module.wrongPins(), 2);
  t.is(await sign(provider, wrong.interaction), "signed");
  t.deepEqual(
    wrong.asked.map(({ isLastTry }) => isLastTry),
    [false, false, true],
  );
});

test("a cancelled prompt leaves the queued ones in place", async (t) => {
  const { provider } = await loaded(t, eachTime);
  const user = makeUser(undefined, hostilePin);
  const signing = [sign(provider, user.interaction), sign(provider, user.interaction)];
  t.deepEqual(await Promise.all(signing), ["pin-required", "signed"]);
});

test("a PIN pad that refused a PIN is not used again, and the user is not asked", async (t) => {
  const { module, provider } = await loaded(t, ["pad", "tries=3"]);
  writeFileSync(`${module.path}.tries`, "2\n");
  module.behave("pad", "tries=3", "epoch=2", "login-error=0xa0");
  const before = logins(module).length;
  const user = makeUser("1234");
  t.is(await sign(provider, user.interaction), "pin-last-try");
  t.is(user.asked.length, 0);
  t.is(logins(module).length - before, 1);
});

test("a PIN that the token did not verify is not cached", async (t) => {
  const faults = ["login", "tries=3"];
  const { module, provider } = await loaded(t, faults, { keepPin: 3600 });
  provider.forgetPins();
  module.behave(...faults, "lose-login", "logout-error=0x30");
  await sign(provider, makeUser("0000").interaction);
  module.behave(...faults, "lose-login=2");
  t.is(await sign(provider), "pin-required");
  t.is(module.wrongPins(), 0);
});

test("a cached PIN that expires during the logout is not used to log in", async (t) => {
  const faults = ["login", "tries=3"];
  // Depends on the real clock of the child: the logout outlasts the lifetime of the cached PIN.
  const { module, provider } = await loaded(t, faults, { keepPin: 2 });
  module.behave(...faults, "lose-login", "slow-logout=2500");
  t.is(await sign(provider), "signed");
  t.is(module.wrongPins(), 0);
});

test("a token without login is not mistaken for the owner of the PIN", async (t) => {
  const { module, registry } = await prepare(t, ["tokens=2", "login=2", "tries=3"]);
  writeFileSync(`${module.path}.tries-2`, "1\n");
  const provider = await registry.add(module.path, pinOf(hostilePin));
  t.is(provider.tokens.length, 2);
});

test("a skipped token is reported with the URI that loads it", async (t) => {
  const serials = ["serial=it's one", "serial-2=two"];
  const { module, registry } = await prepare(t, ["tokens=2", "login", "tries=3", ...serials]);
  for (const suffix of ["", "-2"]) writeFileSync(`${module.path}.tries${suffix}`, "2\n");
  const { code, hint } = await refused(t, registry.add(module.path, pinOf("0000")));
  t.is(code, "pin-required");
  const uri = `pkcs11:serial=it%27s%20one?module-path=${module.path}`;
  t.true(hint.endsWith(`ssh-add -s '${uri}'`), hint);
  t.is(module.wrongPins(), 2);
});

test("each token that refused the PIN is reported, the worst first", async (t) => {
  const labels = ["token-label=first", "token-label-2=second"];
  const { module, registry } = await prepare(t, ["tokens=2", "login", "tries=3", ...labels]);
  writeFileSync(`${module.path}.tries-2`, "1\n");
  const failure = await refused(t, registry.add(module.path, pinOf("0000")));
  t.is(failure.code, "pin-last-try");
  t.regex(
    failure.message,
    /"first" refused the PIN\. .*"second" refused the PIN, and one try is left/,
  );
});

test("a correct PIN is used although others open sessions at the same time", async (t) => {
  const faults = ["login", "keys=2", "always-authenticate=1"];
  for (let round = 0; round < 8; round++) {
    const { module, provider, registry } = await loaded(t, faults);
    module.behave(...faults, "lose-login");
    await Promise.all([0, 1, 0, 1].map((at) => signOnce(provider, at)));
    module.behave(...faults);
    const signing = [0, 1].map((at) => signOnce(provider, at, makeUser(hostilePin).interaction));
    t.deepEqual(await Promise.all(signing), ["signed", "signed"]);
    await registry.removeAll();
  }
});

test("a PIN entered before PINs were forgotten is not used", async (t) => {
  const { module, registry, provider } = await loaded(t, ["login"], { keepPin: 3600 });
  registry.forgetPins();
  module.behave("login", "lose-login");
  let starting: Held | undefined;
  const interaction: UserInteraction = {
    ...noUser,
    async askPin() {
      starting = module.holdAt("initialize", "login");
      await killChild(provider);
      return pinOf(hostilePin);
    },
  };
  const before = module.calls().length;
  const signing = sign(provider, interaction);
  t.true(await eventually(() => starting !== undefined));
  t.true(await starting?.reached());
  registry.forgetPins();
  starting?.goOn();
  t.is(await signing, "pin-required");
  t.false(
    module
      .calls()
      .slice(before)
      .some((call) => call.startsWith("login")),
  );
});

test("a token with a single session is logged in to again beside another one", async (t) => {
  const faults = ["login", "tokens=2", "sessions=1"];
  const { module, provider } = await loaded(t, faults);
  module.behave(...faults, "lose-login");
  t.is(await signOnce(provider, 0, makeUser(hostilePin).interaction), "signed");
});

test("a token whose single session is lost opens another for the next signature", async (t) => {
  const faults = ["login", "sessions=1", "lose-login"];
  const { module, provider } = await loaded(t, ["login", "sessions=1"]);
  module.behave(...faults, "login-error=0x32");
  t.is(await sign(provider, makeUser(hostilePin).interaction), "token-removed");
  module.behave(...faults);
  t.is(await sign(provider, makeUser(hostilePin).interaction), "signed");
});

test("a library that fails to describe its slots is reported", async (t) => {
  const { module, registry } = await prepare(t, ["slot-info-error=0x30"]);
  const uri = `pkcs11:slot-description=x?module-path=${module.path}`;
  const failure = await refused(t, registry.add(uri, pinOf("")));
  t.is(failure.code, "module-crashed");
  t.regex(failure.message, /does not say what its slots are.*CKR_DEVICE_ERROR/);
});

test("signatures queued at a slow card each have their own timeout", async (t) => {
  const faults = ["login", "removable", "slow-sign=700"];
  const { provider } = await loaded(t, faults, { limits: { sign: 2000 } });
  const signing = Array.from({ length: 5 }, () => sign(provider));
  t.deepEqual(new Set(await Promise.all(signing)), new Set(["signed"]));
});

test("a PIN that is too long for the token costs no try, and the length is told", async (t) => {
  const faults = ["login", "always-authenticate", "tries=3", "pin-min=4", "pin-max=8"];
  const { module, registry } = await prepare(t, faults);
  const add = (pin: string) => refused(t, registry.add(module.path, pinOf(pin)));
  for (const pin of ["123456789", "ééééééééé"]) {
    const { code, message } = await add(pin);
    t.is(code, "pin-incorrect");
    const most = 'the token "hostile" takes at most 8 characters.';
    t.is(message, `The PIN is too long and was not tried; ${most}`);
  }
  t.deepEqual(logins(module), []);
  t.is((await add("ééééé")).message, 'The token "hostile" refused the PIN.'); // 10 bytes
  const provider = await registry.add(module.path, pinOf(hostilePin));
  const tried = logins(module).length;
  t.is(await sign(provider, makeUser("12345678910").interaction), "pin-incorrect");
  t.is(logins(module).length, tried);
  t.is(await sign(provider, makeUser(hostilePin).interaction), "signed");
  module.behave(...faults, "login-error=0xa2");
  const { message } = await add("12345");
  t.is(message, 'The token "hostile" refused the PIN for its length (it takes 4 to 8 characters).');
});

test("lengths that cannot be meant, and PINs that are too short, are left to the token", async (t) => {
  const { module, registry } = await prepare(t, []);
  for (const [min, max] of [
    [0, 0],
    [4, 0],
    [8, 6],
    [0, 2],
    [6, 8], // the PIN is older
    [6, 0xffffffff],
    ["0xffffffffffffffff", "0xffffffffffffffff"],
    [0, 1_000_000],
  ]) {
    module.behave("login", `pin-min=${min}`, `pin-max=${max}`);
    const provider = await registry.add(module.path, pinOf(hostilePin));
    t.is(await sign(provider), "signed", `${min} to ${max}`);
  }
});
