import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { type HostileModule, hostilePin } from "../../fixtures/hostile-module/index.ts";
import { prepareBeside, signsMeanwhile } from "./test-bystander.ts";
import { isLoaded, loaded, refused, sign } from "./test-hostile.ts";
import { makeRegistry, pinOf, stateOf } from "./test-registry.ts";

/** Waits until the library hangs in a call. */
function hangs(module: HostileModule, word: string): Promise<boolean> {
  return eventually(() => module.calls().includes(word));
}

for (const way of ["hang", "spin"]) {
  test.serial(`while a library is loaded and ${way}s, in any call, others sign`, async (t) => {
    const { module, registry, bystander } = await prepareBeside(t, []);
    for (const call of ["constructor", "load", "initialize", "slots", "token", "open", "login"]) {
      module.behave("login", `${way}-${call}`);
      const pending = registry.add(module.path, pinOf(hostilePin));
      t.true(await hangs(module, `${way}-${call}`));
      await signsMeanwhile(t, bystander, pending);
      module.behave("login");
      t.is(await sign(await pending), "signed");
    }
  });

  test.serial(`while a library finds its keys and ${way}s, in any call, others sign`, async (t) => {
    const { module, registry, bystander } = await prepareBeside(t, []);
    for (const call of ["find-init", "find", "find-final", "attribute"]) {
      module.behave(`${way}-${call}`);
      const pending = registry.add(module.path, pinOf(""));
      t.true(await hangs(module, `${way}-${call}`));
      await signsMeanwhile(t, bystander, pending);
      module.behave();
      t.is(await sign(await pending), "signed");
    }
  });

  test.serial(`while a library signs and ${way}s, others sign`, async (t) => {
    const { module, registry, bystander } = await prepareBeside(t, []);
    const provider = await registry.add(module.path, pinOf(""));
    for (const call of ["sign-init", "sign"]) {
      module.behave(`${way}-${call}`);
      const pending = Promise.all(Array.from({ length: 8 }, () => sign(provider)));
      t.true(await hangs(module, `${way}-${call}`));
      await signsMeanwhile(t, bystander, pending);
      module.behave();
      t.deepEqual(new Set(await pending), new Set(["signed"]));
    }
    t.is(module.calls().filter((call) => call === "initialize").length, 1);
  });

  test.serial(`while a library is unloaded and ${way}s, in any call, others sign`, async (t) => {
    const limits = { close: 20_000 };
    const { module, registry, bystander } = await prepareBeside(t, [], { limits });
    for (const call of ["finalize", "atexit", "destructor"]) {
      await registry.add(module.path, pinOf(""));
      module.behave(`${way}-${call}`);
      const pending = registry.remove(module.path);
      t.true(await hangs(module, `${way}-${call}`));
      await signsMeanwhile(t, bystander, pending);
      module.behave();
      await pending;
      t.false(isLoaded(module.path));
    }
  });
}

test("a library that hangs when it is loaded is ended at its timeout", async (t) => {
  const { module, bystander } = await prepareBeside(t, []);
  const impatient = makeRegistry(t, { limits: { load: 1500 } });
  for (const call of ["constructor", "token", "login", "find", "attribute"]) {
    module.behave("login", `hang-${call}`);
    const failure = await refused(t, impatient.add(module.path, pinOf(hostilePin)));
    t.is(failure.code, "module-timeout");
    t.true(failure.message.includes(module.path));
    t.false(isLoaded(module.path));
    t.is(await sign(bystander), "signed");
  }
  module.behave();
  t.is(await sign(await makeRegistry(t).add(module.path, pinOf(""))), "signed");
});

test("a library that hangs when it begins to sign is ended at its timeout", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, [], { limits: { sign: 4000 } });
  const provider = await registry.add(module.path, pinOf(""));
  module.behave("hang-sign-init");
  const many = Array.from({ length: 3 }, () => sign(provider));
  t.is(await sign(bystander), "signed");
  t.deepEqual(new Set(await Promise.all(many)), new Set(["module-timeout"]));
  t.true(await eventually(() => !isLoaded(module.path)));
  module.behave();
  t.is(await sign(provider), "signed");
});

test.serial("a library that hangs when it is unloaded is ended at its timeout", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, [], { limits: { close: 300 } });
  for (const call of ["finalize", "atexit", "destructor"]) {
    module.behave(`hang-${call}`);
    await registry.add(module.path, pinOf(""));
    await registry.remove(module.path);
    t.false(isLoaded(module.path));
    t.is(await sign(bystander), "signed");
  }
  module.behave();
  t.is(await sign(await registry.add(module.path, pinOf(""))), "signed");
});

test.serial("a library that hangs when it is asked for its state delays no other", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, ["login"]);
  const provider = await registry.add(module.path, pinOf(hostilePin));
  for (const call of ["slots", "token", "session-info"]) {
    module.behave("login", `hang-${call}`);
    const pending = stateOf(provider);
    t.true(await hangs(module, `hang-${call}`));
    await signsMeanwhile(t, bystander, pending);
    module.behave("login");
    t.is(await pending, "ready");
  }
});

test.serial(
  "while a library that is loaded already hangs at its login, its keys sign",
  async (t) => {
    const { module, registry } = await prepareBeside(t, ["login"]);
    const provider = await registry.add(module.path, pinOf(hostilePin));
    module.behave("login", "hang-login");
    const pending = registry.add(module.path, pinOf(hostilePin));
    t.true(await hangs(module, "hang-login"));
    await signsMeanwhile(t, provider, pending);
    module.behave("login");
    t.not(await pending, provider);
  },
);

test.serial(
  "a card that stops waiting for its user is reported as such, however fast",
  async (t) => {
    const { module, provider } = await loaded(t, ["login"]);
    for (let at = 0; at < 8; at++) t.is(await sign(provider), "signed");
    module.behave("login", "slow-sign=3100", "sign-error=0x101");
    t.is(await sign(provider), "user-refused");
    module.behave("login");
    t.is(await sign(provider), "signed");
  },
);
