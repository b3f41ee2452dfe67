import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { type HostileModule, hostilePin } from "../../fixtures/hostile-module/index.ts";
import { Failure } from "../../protocol/failure.ts";
import type { UserInteraction } from "../signer.ts";
import { killChild, loaded, refused, sign } from "./test-hostile.ts";
import { makeRegistry, noUser, pinOf, stateOf, type TestOptions } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";

/** How often the library was given a PIN. */
function logins(module: HostileModule): number {
  return module.calls().filter((call) => /^login.* with a PIN/.test(call)).length;
}

/** A card that was logged in when it was loaded, and has lost that login. */
async function forgetful(t: ExecutionContext, options: TestOptions = {}, ...words: string[]) {
  const prepared = await loaded(t, ["login", ...words], options);
  prepared.module.behave("login", "lose-login", ...words);
  return prepared;
}

test("a card that lost its login causes one prompt, with its name", async (t) => {
  const { module, provider } = await forgetful(t);
  const { interaction, asked, given } = makeUser(hostilePin);
  t.is(await sign(provider, interaction), "signed");
  t.is(await sign(provider, interaction), "signed");
  t.deepEqual(
    asked.map(({ card, isLastTry }) => [card, isLastTry]),
    [["hostile", false]],
  );
  t.is(logins(module), 2);
  t.true(given.every((pin) => pin.every((byte) => byte === 0)));
});

test("without a prompt or an answer, signing fails with pin-required", async (t) => {
  const { module, provider } = await forgetful(t);
  t.is(await sign(provider), "pin-required");
  t.is(await stateOf(provider), "pin-needed");
  const silent = makeUser(undefined);
  t.is(await sign(provider, silent.interaction), "pin-required");
  t.is(silent.asked.length, 1);
  const error = await refused(t, provider.sign(...request(provider), noUser));
  t.is(error.hint, `Load the token again with its PIN: ssh-add -s ${module.path}`);
  t.is(logins(module), 1);
});

test("concurrent signatures share one prompt", async (t) => {
  const { module, provider } = await forgetful(t);
  const { interaction, asked } = makeUser(hostilePin);
  const results = await Promise.all(Array.from({ length: 8 }, () => sign(provider, interaction)));
  t.deepEqual(new Set(results), new Set(["signed"]));
  t.is(asked.length, 1);
  t.is(logins(module), 2);
});

test("a wrong PIN is tried once for all waiting signatures", async (t) => {
  const { module, provider } = await forgetful(t, {}, "tries=3");
  const { interaction, asked } = makeUser("0000");
  const results = await Promise.all(Array.from({ length: 8 }, () => sign(provider, interaction)));
  t.deepEqual(new Set(results), new Set(["pin-incorrect"]));
  t.is(asked.length, 1);
  t.is(logins(module), 2);
});

test("the prompt warns before the last try, and there is none for a locked PIN", async (t) => {
  const { module, provider } = await forgetful(t, {}, "tries=3");
  const wrong = makeUser("0000", "1111", "2222", hostilePin);
  t.is(await sign(provider, wrong.interaction), "pin-incorrect");
  t.is(await sign(provider, wrong.interaction), "pin-last-try");
  const untold = await refused(t, provider.sign(...request(provider), noUser));
  t.is(untold.code, "pin-required");
  t.regex(untold.message, /one try is left/);
  t.regex(untold.hint, new RegExp(`^The next wrong PIN locks .* ssh-add -s ${module.path}$`));
  t.is(await sign(provider, wrong.interaction), "pin-locked");
  t.is(await sign(provider, wrong.interaction), "pin-locked");
  t.deepEqual(
    wrong.asked.map(({ isLastTry }) => isLastTry),
    [false, false, true],
  );
  t.is(logins(module), 4);
});

test("a process that has ended is restarted, and the user asked for the PIN", async (t) => {
  const { module, provider } = await loaded(t, ["login"]);
  await killChild(provider);
  const { interaction, asked } = makeUser(hostilePin);
  t.is(await sign(provider), "pin-required");
  t.is(await sign(provider, interaction), "signed");
  t.is(await sign(provider), "signed");
  t.is(asked.length, 1);
  t.is(logins(module), 2);
});

test("a library that lost access to its cards is restarted", async (t) => {
  for (const how of ["0x30", "5", "6", "empty"]) {
    const { module, provider } = await loaded(t, []);
    module.behave(`needs-restart=${how}`);
    t.is(await sign(provider), "signed", how);
    t.is(await stateOf(provider), "ready", how);
    module.behave(`needs-restart=${how},2`);
    const many = await Promise.all(Array.from({ length: 8 }, () => sign(provider)));
    t.deepEqual(new Set(many), new Set(["signed"]), how);
  }
});

test("after a restart of the library, cards are logged in with the cached PIN", async (t) => {
  const { module, provider } = await loaded(t, ["login"], { keepPin: 3600 });
  module.behave("login", "needs-restart=0x30");
  t.is(await sign(provider), "signed");
  t.is(logins(module), 2);
});

test("a cached PIN restores a lost login", async (t) => {
  const { module, provider } = await forgetful(t, { keepPin: 3600 });
  t.is(await sign(provider), "signed");
  module.behave("login", "absent");
  t.is(await sign(provider), "token-removed");
  module.behave("login", "epoch=2");
  t.is(await stateOf(provider), "ready");
  const many = await Promise.all(Array.from({ length: 8 }, () => sign(provider)));
  t.deepEqual(new Set(many), new Set(["signed"]));
  t.is(logins(module), 3);
});

test("a cached PIN restores a lost login after any error", async (t) => {
  for (const value of ["0x30", "5", "6"]) {
    const { module, provider } = await loaded(t, ["login"], { keepPin: 3600 });
    module.behave("login", "lose-login", `lose-login-error=${value}`);
    t.is(await sign(provider), "signed", value);
  }
});

test("using a cached PIN does not extend its lifetime", async (t) => {
  const { module, provider } = await loaded(t, ["login"], { keepPin: 2 });
  let result = await sign(provider);
  for (let at = 1; result === "signed" && at < 1000; at++) {
    module.behave("login", `lose-login=${at}`);
    result = await sign(provider);
  }
  t.is(result, "pin-required");
});

test("forgetPins clears a cached PIN, and the user is asked again", async (t) => {
  const { module, provider, registry } = await loaded(t, ["login"], { keepPin: 3600 });
  registry.forgetPins();
  t.is(await sign(provider), "signed"); // the login holds
  module.behave("login", "lose-login");
  t.is(await sign(provider), "pin-required");
  const { interaction } = makeUser(hostilePin);
  t.is(await sign(provider, interaction), "signed");
  module.behave("login", "lose-login=2");
  t.is(await sign(provider), "signed"); // it is kept again
});

test("a cached PIN is forgotten when another card is in the slot", async (t) => {
  const { module, provider } = await loaded(t, ["login"], { keepPin: 3600 });
  module.behave("login", "serial=2", "epoch=2");
  t.is(await sign(provider), "token-removed");
  module.behave("login", "epoch=3");
  t.is(await sign(provider), "pin-required");
  t.is(logins(module), 1);
});

test("a cached PIN that is refused is forgotten, and not tried again", async (t) => {
  const { module, provider } = await loaded(t, ["login"], { keepPin: 3600 });
  module.behave("login", "lose-login", "pin=9876");
  t.is(await sign(provider), "pin-required");
  t.is(await sign(provider), "pin-required");
  t.is(logins(module), 2);
  const { interaction } = makeUser("9876");
  t.is(await sign(provider, interaction), "signed");
});

test("a cached PIN is not tried when a wrong one would lock the card", async (t) => {
  const { module, provider } = await loaded(t, ["login", "tries=3"], { keepPin: 3600 });
  for (const code of ["pin-incorrect", "pin-last-try"] as const) {
    t.is((await refused(t, makeRegistry(t).add(module.path, pinOf("0000")))).code, code);
  }
  module.behave("login", "tries=3", "lose-login");
  t.is(await sign(provider), "pin-required");
  t.is(logins(module), 3);
  const { interaction, asked } = makeUser(hostilePin);
  t.is(await sign(provider, interaction), "signed");
  t.deepEqual(
    asked.map(({ isLastTry }) => isLastTry),
    [true],
  );
});

test("the time a user takes to enter the PIN is not part of the timeout", async (t) => {
  for (const words of [[], ["always-authenticate"]]) {
    const { provider, module } = await forgetful(t, { limits: { sign: 2000 } }, ...words);
    const slow: UserInteraction = { ...noUser, askPin: () => sleep(3000, pinOf(hostilePin)) };
    const signing = [sign(provider, slow), sign(provider, slow)];
    t.deepEqual(await Promise.all(signing), ["signed", "signed"]);
    t.is(module.calls().filter((call) => call === "initialize").length, 1);
  }
});

test("a key that needs its PIN each time asks each time", async (t) => {
  const { module, provider } = await loaded(t, ["login", "always-authenticate"]);
  t.is(await sign(provider), "pin-required");
  const { interaction, asked } = makeUser(hostilePin);
  const results = await Promise.all(Array.from({ length: 3 }, () => sign(provider, interaction)));
  t.deepEqual(new Set(results), new Set(["signed"]));
  t.is(asked.length, 3);
  t.is(logins(module), 4);
  t.is(await sign(provider, makeUser("0000").interaction), "pin-incorrect");
  t.is(logins(module), 5);
});

test("a key that needs its PIN each time gets the cached one", async (t) => {
  const { module, provider } = await loaded(t, ["login", "always-authenticate"], { keepPin: 3600 });
  for (let at = 0; at < 3; at++) t.is(await sign(provider), "signed");
  module.behave("login", "always-authenticate", "lose-login");
  t.is(await sign(provider), "signed");
  module.behave("login", "always-authenticate", "pin=9876");
  for (let at = 0; at < 2; at++) t.is(await sign(provider), "pin-required");
});

test("a key that needs its PIN each time asks at the token's own pad", async (t) => {
  const { module, provider } = await loaded(t, ["pad", "always-authenticate"]);
  const { interaction, asked } = makeUser(hostilePin);
  for (let at = 0; at < 3; at++) t.is(await sign(provider, interaction), "signed");
  module.behave("pad", "always-authenticate", "lose-login");
  t.is(await sign(provider, interaction), "signed");
  t.is(asked.length, 0);
  t.is(logins(module), 0);
});

test("only the token that needs its PIN causes a prompt and gets the PIN", async (t) => {
  const words = ["tokens=2", "login", "pin-2=5678"];
  const { module, provider } = await loaded(t, ["tokens=2", "login"]);
  t.is(provider.tokens.length, 2);
  module.behave(...words, "lose-login");
  const { interaction, asked } = makeUser("5678");
  const second = provider.keys.find(({ token }) => token.serial === provider.tokens[1]?.serial);
  t.truthy(second);
  await t.notThrowsAsync(
    provider.sign(second?.keyBlob ?? Buffer.alloc(0), "ecdsa-sha2-nistp256", data, interaction),
  );
  t.is(asked.length, 1);
  t.is(asked[0]?.card, provider.tokens[1]?.label);
  t.is(logins(module), 3);
});

test("a key does not sign if it is removed, or the agent locked, during the prompt", async (t) => {
  const { provider, registry, module } = await forgetful(t);
  const gone: UserInteraction = {
    ...noUser,
    async askPin() {
      await registry.removeAll();
      return pinOf(hostilePin);
    },
  };
  t.is(await sign(provider, gone), "not-loaded");
  t.is(logins(module), 1);
  const failing: UserInteraction = {
    ...noUser,
    askPin: () => Promise.reject(new Failure("locked", "The agent was locked meanwhile.")),
  };
  const again = await registry.add(module.path, pinOf(hostilePin));
  module.behave("login", "lose-login=2");
  t.is(await sign(again, failing), "locked");
});

test("a slow signature shows a notice until it is done", async (t) => {
  const { module, provider } = await loaded(t, [], { limits: { notice: 50 } });
  const notices: string[] = [];
  const watching: UserInteraction = {
    ...noUser,
    notify: (text) => {
      notices.push(text);
      module.behave();
      return () => notices.push("done");
    },
  };
  module.behave("hang-sign");
  t.is(await sign(provider, watching), "signed");
  t.deepEqual(notices, [
    "Token hostile is about to sign with key key; touch it if it blinks.",
    "done",
  ]);
});

const data = Buffer.from("what is signed");

/** The arguments of a signature with the only key. */
function request(provider: Awaited<ReturnType<typeof loaded>>["provider"]) {
  const keyBlob = provider.keys[0]?.keyBlob ?? Buffer.alloc(0);
  return [keyBlob, "ecdsa-sha2-nistp256", data] as const;
}
