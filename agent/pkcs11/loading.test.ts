/** Libraries that OpenSSH loads: a step that they refuse has a second way, or decides nothing. */
import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { type HostileModule, hostilePin } from "../../fixtures/hostile-module/index.ts";
import { Failure } from "../../protocol/failure.ts";
import type { Provider } from "./provider.ts";
import { loaded, logins, prepare, refused, sign, signOnce } from "./test-hostile.ts";
import { pinOf, stateOf } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";

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

for (const name of ["initialize", "slots", "token", "open", "find-init"]) {
  test(`a library without the function for ${name} is refused with that reason`, async (t) => {
    const { module, registry } = await prepare(t, [`missing-${name}`]);
    const failure = await refused(t, registry.add(module.path, pinOf("")));
    t.is(failure.code, "module-crashed");
    t.regex(failure.message, /\(CKR_FUNCTION_NOT_SUPPORTED\)\.$/);
    t.is(failure.hint, "Look for a newer version of the library.");
  });
}

for (const name of ["login", "sign-init", "sign", "attribute"]) {
  test(`a library without the function for ${name} does not crash`, async (t) => {
    const { module, registry } = await prepare(t, [`missing-${name}`, "login"]);
    const outcome = await registry.add(module.path, pinOf(hostilePin)).then(sign, codeOf);
    t.true(["module-crashed", "unsupported", "no-usable-key"].includes(outcome), outcome);
    t.is(module.calls().filter((call) => call === "initialize").length, 1);
  });
}

test("a library that reads the count that C_GetSlotList is given lists its slots", async (t) => {
  const { provider } = await loaded(t, ["count-read", "tokens=2"]);
  t.is(provider.tokens.length, 2);
  t.is(await sign(provider), "signed");
});

/** The code of a failure. */
function codeOf(error: unknown): string {
  return error instanceof Failure ? error.code : String(error);
}

/** How often C_OpenSession was called, whatever it returned. */
function openings(module: HostileModule): number {
  return module.calls().filter((call) => call === "open" || call === "open refused").length;
}

for (const word of ["no-read-only=0xe2", "no-read-only=0x5", "no-read-only=0x80000001"]) {
  test(`a token with ${word} gets read-write sessions`, async (t) => {
    const { module, provider } = await loaded(t, [word, "login", "slow-sign=50"]);
    const signatures = await Promise.all([sign(provider), sign(provider), sign(provider)]);
    t.deepEqual(signatures, ["signed", "signed", "signed"]);
    // What worked is tried first for the other sessions, and after the card was away.
    t.is(module.calls().filter((call) => call === "open refused").length, 1);
    module.behave(word, "login", "epoch=2");
    t.is(await sign(provider), "pin-required");
    t.is(module.calls().filter((call) => call === "open refused").length, 1);
    module.behave("no-read-write=0xe2", "epoch=3");
    t.is(await sign(provider), "signed");
  });
}

for (const [word, code] of [
  ["sessions=0", "CKR_SESSION_COUNT"],
  ["open-error=0x30", "CKR_DEVICE_ERROR"],
] as const) {
  test(`${code} is not taken for a refusal of read-only sessions`, async (t) => {
    const { module, registry } = await prepare(t, [word]);
    const failure = await refused(t, registry.add(module.path, pinOf("")));
    t.regex(failure.message, new RegExp(`opens no session \\(${code}\\)`));
    t.true(openings(module) < 2);
  });
}

test("a token that refuses both kinds of sessions is refused with the first reason", async (t) => {
  const { module, registry } = await prepare(t, ["no-read-only=0x5", "no-read-write=0xe2"]);
  const failure = await refused(t, registry.add(module.path, pinOf("")));
  t.regex(failure.message, /opens no session \(CKR_GENERAL_ERROR\)/);
});

test("a token with one session is loaded with the one of the preparation", async (t) => {
  const { module, registry } = await prepare(t, ["sessions=1", "login", "removable"]);
  const prepared = await registry.prepare(module.path);
  t.true(await eventually(() => openings(module) === 1));
  const add = { takePrepared: () => prepared.child };
  const provider = await registry.add(module.path, pinOf(hostilePin), add);
  t.is(openings(module), 1);
  t.is(await sign(provider), "signed");
  module.behave("sessions=1", "login", "removable", "lose-login");
  t.is(await sign(provider, makeUser(hostilePin).interaction), "signed");
});

test("a card that was exchanged since the preparation gets its own session", async (t) => {
  const { module, registry } = await prepare(t, ["sessions=1"]);
  for (const words of [["epoch=2"], ["epoch=3", "serial=2"]]) {
    const before = openings(module);
    const prepared = await registry.prepare(module.path);
    t.true(await eventually(() => openings(module) > before));
    module.behave("sessions=1", ...words);
    const add = { takePrepared: () => prepared.child };
    t.is(await sign(await registry.add(module.path, pinOf(""), add)), "signed");
  }
});

/** What was left out, one line each. */
function notes(provider: Provider): string[] {
  return provider.leftOut.map(({ object, reason }) => `${object}: ${reason}`);
}

for (const [word, note] of [
  ["token-fails=1", 'token in "slot 7": unreadable (CKR_DEVICE_ERROR)'],
  ["open-fails=1", 'token "hostile": opens no session (CKR_DEVICE_ERROR)'],
  ["find-init-fails=1", 'The keys of the token "hostile" cannot be read (CKR_DEVICE_ERROR)'],
] as const) {
  test(`a first slot with ${word} does not hide the second`, async (t) => {
    const { provider } = await loaded(t, ["tokens=2", word]);
    t.deepEqual(
      provider.tokens.map(({ label }) => label),
      ["hostile 2"],
    );
    t.is(await sign(provider), "signed");
    t.true(notes(provider).join().includes(note), notes(provider).join());
  });
}

test("a slot without a description does not hide the others", async (t) => {
  const { module, registry } = await prepare(t, ["tokens=2", "slot-info-fails=1"]);
  const uri = `pkcs11:slot-id=8?module-path=${module.path}`;
  t.is(await sign(await registry.add(uri, pinOf(""))), "signed");
  t.is((await registry.add(module.path, pinOf(""))).tokens.length, 2);
});

for (const [word, note] of [
  ["unsearchable-1", "any certificate: cannot be searched (CKR_FUNCTION_FAILED)"],
  ["unsearchable-3", "any private key: cannot be searched (CKR_FUNCTION_FAILED)"],
  ["find-stops=2", "any other public key: cannot be searched (CKR_FUNCTION_FAILED)"],
] as const) {
  test(`a token with ${word} has the keys that can be found`, async (t) => {
    const { module, provider } = await loaded(t, [word, "keys=2", "login"]);
    t.is(provider.keys.length, 2);
    t.true(notes(provider).includes(note), notes(provider).join());
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
