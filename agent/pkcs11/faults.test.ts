import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { isRunning, signal } from "../../fixtures/processes.ts";
import { ProviderRegistry } from "./registry.ts";
import {
  findProcess,
  isLoaded,
  killChild,
  loaded,
  prepare,
  refused,
  sign,
  startLoader,
} from "./test-hostile.ts";
import { makeRegistry, pinOf, stateOf } from "./test-registry.ts";

test("the hostile module without faults signs", async (t) => {
  const { provider, module } = await loaded(t, []);
  for (let at = 0; at < 20; at++) t.is(await sign(provider), "signed");
  t.is(await stateOf(provider), "ready");
  await provider.close();
  t.is(module.calls().at(-1), "finalize");
});

test("a raw EC point, a key without ID or label and garbage beside it are harmless", async (t) => {
  const { provider, module } = await loaded(t, ["raw-point", "no-id", "no-label", "garbage"]);
  t.is(provider.keys.length, 1);
  t.is(provider.keys[0]?.comment, module.path);
  t.is(await sign(provider), "signed");
});

test("the output of a library is discarded", async (t) => {
  const { provider } = await loaded(t, ["print-initialize"]);
  t.is(await sign(provider), "signed");
});

test("a private key without CKA_SIGN is left out", async (t) => {
  const { module, registry } = await prepare(t, ["no-sign"]);
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "no-usable-key");
});

for (const [name, fault] of [
  ["when it is loaded", "load"],
  ["when it is initialized", "initialize"],
  ["when it is asked for slots", "slots"],
] as const) {
  test(`a library that crashes ${name} is refused with that reason`, async (t) => {
    const { module, registry } = await prepare(t, [`crash-${fault}`]);
    const failure = await refused(t, registry.add(module.path, pinOf("")));
    t.is(failure.code, "module-crashed");
    t.regex(failure.message, /SIGSEGV/);
    module.behave(`exit-${fault}`);
    const exited = await refused(t, registry.add(module.path, pinOf("")));
    t.is(exited.code, "module-crashed");
    t.regex(exited.message, /status 3/);
    module.behave();
    t.is(await sign(await registry.add(module.path, pinOf(""))), "signed");
  });

  test(`a library that hangs ${name} is ended`, async (t) => {
    const limits = { load: 1000 };
    const { module, registry } = await prepare(t, [`hang-${fault}`], { limits });
    const failure = await refused(t, registry.add(module.path, pinOf("")));
    t.is(failure.code, "module-timeout");
    t.true(await eventually(() => !isLoaded(module.path)));
    module.behave();
    t.is(await sign(await makeRegistry(t).add(module.path, pinOf(""))), "signed");
  });
}

test("a library without functions, or one that does not start, is refused with that reason", async (t) => {
  const { module, registry } = await prepare(t, ["no-functions"]);
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "not-a-pkcs11-module");
  module.behave("initialize-error=0x30");
  const failure = await refused(t, registry.add(module.path, pinOf("")));
  t.is(failure.code, "module-crashed");
  t.regex(failure.message, /CKR_DEVICE_ERROR/);
  module.behave("initialize-error=0x191");
  t.is(await sign(await registry.add(module.path, pinOf(""))), "signed");
});

test("a library that closes the agent's descriptor is ended", async (t) => {
  const { module, registry } = await prepare(t, ["close-initialize=3"]);
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "module-crashed");
});

test("no card and an empty card are told apart", async (t) => {
  const { module, registry } = await prepare(t, ["absent"]);
  const none = await refused(t, registry.add(module.path, pinOf("")));
  t.is(none.code, "no-token");
  module.behave("uninitialized", "keyless");
  const blank = await refused(t, registry.add(module.path, pinOf("")));
  t.is(blank.code, "no-token");
  t.not(blank.message, none.message);
  module.behave("keyless");
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "no-usable-key");
});

test("a card that the library cannot read is not reported as missing", async (t) => {
  const { module, registry } = await prepare(t, ["token-error=0x30"]);
  const unread = await refused(t, registry.add(module.path, pinOf("")));
  t.is(unread.code, "module-crashed");
  t.regex(unread.message, /CKR_DEVICE_ERROR/);
  module.behave("token-error=0xe1");
  const unknown = await refused(t, registry.add(module.path, pinOf("")));
  t.is(unknown.code, "no-token");
  t.regex(unknown.message, /does not recognize the token/);
  t.notRegex(unknown.hint, /^Insert the card/);
});

test("after a crash in a signature the library is loaded again", async (t) => {
  const { module, provider } = await loaded(t, []);
  module.behave("crash-sign");
  t.is(await sign(provider), "module-crashed");
  t.is(await stateOf(provider), "module-failed");
  module.behave();
  t.is(await sign(provider), "signed");
  t.is(await stateOf(provider), "ready");
});

test("a killed process is restarted once for all waiting signatures", async (t) => {
  const { module, provider } = await loaded(t, []);
  await killChild(provider);
  const results = await Promise.all(Array.from({ length: 8 }, () => sign(provider)));
  t.deepEqual(new Set(results), new Set(["signed"]));
  t.is(module.calls().filter((call) => call === "initialize").length, 2);
});

test("a signature that hangs times out, and the next one succeeds", async (t) => {
  const { module, provider } = await loaded(t, [], { limits: { sign: 4000 } });
  module.behave("hang-sign");
  t.is(await sign(provider), "module-timeout");
  module.behave();
  t.is(await sign(provider), "signed");
});

test("during a slow signature, the state is known and others sign", async (t) => {
  const { module, provider } = await loaded(t, []);
  module.behave("hang-first-signature");
  const slow = sign(provider);
  await eventually(() => module.calls().includes("sign"));
  t.is(await stateOf(provider), "ready");
  t.is(await sign(provider), "signed");
  module.behave();
  t.is(await slow, "signed");
});

test("a library that is slow to report its state counts as failed, and keeps running", async (t) => {
  const { module, provider } = await loaded(t, ["slot=7"], { limits: { status: 300 } });
  module.behave("hang-slots", "slot=8");
  t.is(await stateOf(provider), "module-failed");
  module.behave("slot=7");
  t.true(await eventually(async () => (await stateOf(provider)) === "ready"));
  t.is(module.calls().filter((call) => call === "initialize").length, 1);
});

test("an error in one signature is reported, and the next one succeeds", async (t) => {
  const { module, provider } = await loaded(t, ["login"]);
  module.behave("login", "sign-error=0x80000001");
  t.is(await sign(provider), "module-crashed");
  module.behave("login", "sign-error=0x200");
  t.is(await sign(provider), "user-refused");
  module.behave("login", "sign-error=0x70");
  t.is(await sign(provider), "unsupported");
  module.behave("login", "short-signature");
  t.is(await sign(provider), "module-crashed");
  module.behave("login");
  t.is(await sign(provider), "signed");
});

test("a card that is pulled and put back signs again", async (t) => {
  const { module, provider } = await loaded(t, []);
  module.behave("absent");
  t.is(await stateOf(provider), "card-absent");
  t.is(await sign(provider), "token-removed");
  module.behave("epoch=2", "slot=9");
  t.is(await stateOf(provider), "ready");
  t.is(await sign(provider), "signed");
});

test("another card in the reader is not mistaken for the first one", async (t) => {
  const { module, provider } = await loaded(t, []);
  module.behave("serial=2", "epoch=2");
  t.is(await stateOf(provider), "card-absent");
  t.is(await sign(provider), "token-removed");
});

test("lost sessions are opened again", async (t) => {
  const { module, provider } = await loaded(t, []);
  module.behave("epoch=2");
  const results = await Promise.all(Array.from({ length: 8 }, () => sign(provider)));
  t.deepEqual(new Set(results), new Set(["signed"]));
});

test("a card with a single session serves many", async (t) => {
  const { provider } = await loaded(t, ["sessions=1", "slow-sign=5"]);
  const results = await Promise.all(Array.from({ length: 12 }, () => sign(provider)));
  t.deepEqual(new Set(results), new Set(["signed"]));
});

test("a library that hangs at its end is ended", async (t) => {
  const { module, registry } = await loaded(t, [], { limits: { close: 300 } });
  module.behave("hang-finalize");
  await registry.remove(module.path);
  t.false(isLoaded(module.path));
  t.true(module.calls().includes("finalize"));
});

test("unloading ends a signature that hangs", async (t) => {
  const { module, provider, registry } = await loaded(t, [], { limits: { close: 300 } });
  module.behave("hang-sign");
  const hung = sign(provider);
  await eventually(() => module.calls().includes("sign"));
  await registry.remove(module.path);
  t.is(await hung, "not-loaded");
  t.false(isLoaded(module.path));
});

test("a missing program of the child process is an ordinary failure", async (t) => {
  const { module } = await prepare(t, []);
  const registry = new ProviderRegistry({
    allowed: { allows: () => true, allowsAny: true, hintFor: () => "" },
    child: { file: "/nowhere/child", args: [] },
  });
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "internal");
});

test("a child process ends when its agent does, even within a call that hangs", async (t) => {
  const { workspace, module } = await prepare(t, []);
  for (const faults of [[], ["hang-slots"]]) {
    module.behave(...faults);
    const agent = startLoader(workspace, module.path);
    await eventually(() => isLoaded(module.path));
    const child = findProcess(module.path) ?? 0;
    t.true(isRunning(child));
    signal(agent, "SIGKILL");
    t.true(await eventually(() => !isRunning(child)));
  }
});
