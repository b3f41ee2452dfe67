/** `ssh-agent -O idle-release`: tokens that nobody uses are given back. */
import test, { type ExecutionContext } from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { type HostileModule, hostilePin } from "../../fixtures/hostile-module/index.ts";
import { TestClock } from "../test-agent.ts";
import type { Provider } from "./provider.ts";
import { isLoaded, loaded, logins, sign } from "./test-hostile.ts";
import { pinOf, type TestOptions } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";

const minute = 60_000;

/** A loaded provider whose token is given back after a minute. */
async function prepare(t: ExecutionContext, faults: string[], options: TestOptions = {}) {
  const clock = new TestClock();
  const idle = { clock, after: minute };
  const limits = { release: 20_000, close: 20_000, ...options.limits }; // for a busy machine
  return { clock, ...(await loaded(t, faults, { ...options, limits, idle })) };
}

function count(module: HostileModule, call: string): number {
  return module.calls().filter((one) => one === call).length;
}

async function isReleased(provider: Provider): Promise<boolean> {
  return (await provider.status()).isReleased;
}

test("a token that nobody uses is given back, and comes back with the next signature", async (t) => {
  const { clock, module, provider } = await prepare(t, ["keys=2"]);
  t.is(await sign(provider), "signed");
  t.deepEqual(clock.waits, [minute]);
  clock.pass(minute - 1);
  t.is(await sign(provider), "signed");
  clock.pass(minute - 1);
  t.false(await isReleased(provider));
  clock.pass(1);
  t.true(await eventually(() => !isLoaded(module.path)));
  t.is(count(module, "finalize"), 1);
  t.deepEqual(clock.waits, []); // nothing runs meanwhile
  t.deepEqual(await provider.status(), { state: "ready", tokens: ["ready"], isReleased: true });
  t.false(isLoaded(module.path));
  t.is(await sign(provider), "signed");
  t.false(await isReleased(provider));
  t.deepEqual(clock.waits, [minute]);
});

test("after that, a token that wants its PIN asks the user for it", async (t) => {
  const { clock, module, provider } = await prepare(t, ["login"]);
  t.is((await provider.status()).state, "ready");
  clock.pass(minute);
  t.true(await eventually(() => !isLoaded(module.path)));
  t.deepEqual(await provider.status(), {
    ...{ state: "pin-needed", tokens: ["pin-needed"] },
    isReleased: true,
  });
  t.is(await sign(provider), "pin-required");
  clock.pass(minute);
  t.true(await eventually(() => !isLoaded(module.path)));
  const user = makeUser(hostilePin);
  t.is(await sign(provider, user.interaction), "signed");
  t.is(user.asked.length, 1);
});

test("a cached PIN is kept for it, with the library finalized", async (t) => {
  const { clock, module, registry, provider } = await prepare(t, ["login"], { keepPin: 3600 });
  clock.pass(minute);
  t.true(await eventually(() => count(module, "finalize") === 1));
  t.true(isLoaded(module.path));
  const before = module.calls().length;
  t.deepEqual(await provider.status(), { state: "ready", tokens: ["ready"], isReleased: true });
  t.is(module.calls().length, before); // the library is left alone
  const made = logins(module).length;
  t.is(await sign(provider), "signed");
  t.is(logins(module).length, made + 1);
  t.is(count(module, "finalize"), 1);
  t.false(await isReleased(provider));
  clock.pass(minute);
  t.true(await eventually(() => count(module, "finalize") === 2));
  registry.forgetPins();
  t.is((await provider.status()).state, "pin-needed");
  t.is(await sign(provider), "pin-required");
});

test("a key that always authenticates signs with the cached PIN after that", async (t) => {
  const { clock, module, provider } = await prepare(t, ["login", "always-authenticate"], {
    keepPin: 3600,
  });
  t.is(await sign(provider), "signed");
  clock.pass(minute);
  t.true(await eventually(() => count(module, "finalize") === 1));
  t.is(await sign(provider), "signed");
});

for (const fault of ["finalize-error=0x5", "hang-finalize", "crash-finalize"]) {
  for (const keepPin of [0, 3600]) {
    test(`the process is ended if C_Finalize does not work: ${fault}, ${keepPin}`, async (t) => {
      const options = { keepPin, limits: { release: 200, close: 200 } };
      const { clock, module, provider } = await prepare(t, ["login"], options);
      module.behave("login", fault);
      clock.pass(minute);
      t.true(await eventually(() => !isLoaded(module.path)));
      module.behave("login");
      t.true(await eventually(async () => (await provider.status()).state === "pin-needed"));
      t.is(await sign(provider, makeUser(hostilePin).interaction), "signed");
    });
  }
}

test("a signature that takes long is not disturbed, and one meanwhile shares the token", async (t) => {
  const { clock, module, provider } = await prepare(t, []);
  const held = module.holdAt("sign");
  const signing = sign(provider);
  t.true(await held.reached());
  clock.pass(2 * minute);
  held.goOn();
  t.is(await signing, "signed");
  t.is(count(module, "finalize"), 0);
  t.deepEqual(clock.waits, [minute]);
});

for (const keepPin of [0, 3600]) {
  test(`a signature just when the token is given back is made (PIN kept: ${keepPin > 0})`, async (t) => {
    const { clock, module, provider } = await prepare(t, ["login"], { keepPin });
    const user = makeUser(hostilePin);
    const held = module.holdAt("finalize", "login");
    clock.pass(minute);
    t.true(await held.reached());
    const signing = sign(provider, user.interaction);
    held.goOn();
    t.is(await signing, "signed");
    t.is(user.asked.length, keepPin > 0 ? 0 : 1);
    clock.pass(minute);
    t.true(await eventually(() => isReleased(provider)));
  });
}

test("unloading and loading a token that is given back", async (t) => {
  const { clock, module, registry, provider } = await prepare(t, ["login"], { keepPin: 3600 });
  clock.pass(minute);
  t.true(await eventually(() => count(module, "finalize") === 1));
  const again = await registry.add(module.path, pinOf(hostilePin));
  t.is(await sign(provider), "not-loaded");
  t.is(await sign(again), "signed");
  t.deepEqual(clock.waits, [minute]);
  await registry.remove(module.path);
  t.deepEqual(clock.waits, []);
  t.true(await eventually(() => !isLoaded(module.path)));
});

test("another provider of the library keeps its login", async (t) => {
  const { clock, module, registry, provider } = await prepare(t, ["login"]);
  const uri = `pkcs11:object=one?module-path=${module.path}`;
  const other = await registry.add(uri, pinOf(hostilePin));
  clock.pass(minute - 1);
  t.is(await sign(other), "signed");
  clock.pass(1);
  t.true(await eventually(() => isReleased(provider)));
  t.is(count(module, "finalize"), 0);
  t.is(await sign(other), "signed");
});

test("a library that cannot be initialized twice comes back in another process", async (t) => {
  const faults = ["login", "initialize-once"];
  const { clock, module, provider } = await prepare(t, faults, { keepPin: 3600 });
  clock.pass(minute);
  t.true(await eventually(() => count(module, "finalize") === 1));
  const user = makeUser(hostilePin);
  t.is(await sign(provider, user.interaction), "signed");
  t.is(user.asked.length, 1); // the PIN ended with the process
});
