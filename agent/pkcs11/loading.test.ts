/** Libraries that OpenSSH loads: a step that they refuse has a second way, or decides nothing. */
import test from "ava";
import { loaded, logins, prepare, refused, sign, signOnce } from "./test-hostile.ts";
import { pinOf, stateOf } from "./test-registry.ts";

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

for (const [word, note] of [
  ["unsearchable-1", "any certificate: cannot be searched (CKR_FUNCTION_FAILED)"],
  ["unsearchable-3", "any private key: cannot be searched (CKR_FUNCTION_FAILED)"],
  ["find-stops=2", "any other public key: cannot be searched (CKR_FUNCTION_FAILED)"],
] as const) {
  test(`a token with ${word} has the keys that can be found`, async (t) => {
    const { module, provider } = await loaded(t, [word, "keys=2", "login"]);
    t.is(provider.keys.length, 2);
    const notes = provider.leftOut.map(({ object, reason }) => `${object}: ${reason}`);
    t.true(notes.includes(note), notes.join());
    module.behave("keys=2", "login");
    t.is(await sign(provider), "signed");
    t.is(await signOnce(provider, 1), "signed");
  });
}

test("a token whose objects cannot be searched at all is refused with that reason", async (t) => {
  const words = ["unsearchable-1", "unsearchable-2", "unsearchable-3"];
  const { module, registry } = await prepare(t, words);
  const failure = await refused(t, registry.add(module.path, pinOf("")));
  t.is(failure.code, "module-crashed");
  t.regex(failure.message, /keys of the token "hostile" cannot be read \(CKR_FUNCTION_FAILED\)/);
});
