import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { prepareBeside } from "./test-bystander.ts";
import { isLoaded, refused, sign } from "./test-hostile.ts";
import { pinOf, stateOf } from "./test-registry.ts";

// These tests start hundreds of processes: one after another, so that none of them waits for long.

/** The ways in which a library ends its process, and how each is reported. */
const ways = [
  ["crash", /SIGSEGV/],
  ["abort", /SIGABRT/],
  ["exit", /status 3/],
  ["quit", /status 3/],
] as const;

const loadingCalls = [
  "constructor",
  "load",
  "initialize",
  "slots",
  "token",
  "open",
  "login",
  "find-init",
  "find",
  "find-final",
  "attribute",
];

for (const [way, told] of ways) {
  test.serial(
    `a library that is loaded and ends by ${way}, in any call, is refused with that reason`,
    async (t) => {
      const { module, registry, bystander } = await prepareBeside(t, []);
      for (const call of loadingCalls) {
        module.behave("login", `${way}-${call}`);
        const failure = await refused(t, registry.add(module.path, pinOf(hostilePin)));
        t.is(failure.code, "module-crashed", call);
        // A login runs on a thread of its own, where exit() ends in abort().
        t.regex(failure.message, call === "login" ? /status 3|SIG/ : told, call);
        t.is(await sign(bystander), "signed");
      }
      module.behave("login");
      t.is(await sign(await registry.add(module.path, pinOf(hostilePin))), "signed");
    },
  );

  test.serial(
    `a library that signs and ends by ${way} fails its signatures, and the next one is made`,
    async (t) => {
      const { module, registry, bystander } = await prepareBeside(t, []);
      const provider = await registry.add(module.path, pinOf(""));
      for (const call of ["sign-init", "sign"]) {
        module.behave(`${way}-${call}`);
        const many = Array.from({ length: 8 }, () => sign(provider));
        t.is(await sign(bystander), "signed");
        t.deepEqual(new Set(await Promise.all(many)), new Set(["module-crashed"]), call);
        module.behave();
        t.is(await sign(provider), "signed");
      }
      t.is(module.calls().filter((call) => call === "initialize").length, 3);
    },
  );

  test.serial(
    `a library that tells its state and ends by ${way} counts as failed until the next use`,
    async (t) => {
      const { module, registry, bystander } = await prepareBeside(t, ["login"]);
      await registry.add(module.path, pinOf(hostilePin));
      for (const call of ["slots", "token", "session-info"]) {
        module.behave("login", `${way}-${call}`);
        const provider = registry.get(module.path);
        t.is((await provider?.status())?.state, "module-failed", call);
        t.is(await sign(bystander), "signed");
        module.behave("login");
        t.is(await sign(await registry.add(module.path, pinOf(hostilePin))), "signed");
      }
    },
  );

  test.serial(
    `a library that is unloaded and ends by ${way} is gone, and is loaded again`,
    async (t) => {
      const { module, registry, bystander } = await prepareBeside(t, []);
      for (const call of ["finalize", "atexit", "destructor"]) {
        module.behave(`${way}-${call}`);
        const provider = await registry.add(module.path, pinOf(""));
        t.is(await sign(provider), "signed");
        await registry.remove(module.path);
        t.false(isLoaded(module.path));
        t.is(await sign(bystander), "signed");
      }
      module.behave();
      t.is(await sign(await registry.add(module.path, pinOf(""))), "signed");
    },
  );
}

test.serial("a crash while a library is reloaded leaves the loaded one in place", async (t) => {
  const { module, registry } = await prepareBeside(t, ["login"]);
  const provider = await registry.add(module.path, pinOf(hostilePin));
  for (const call of ["constructor", "initialize", "login", "finalize"]) {
    module.behave("login", `crash-${call}`, call === "finalize" ? "keyless" : "");
    await refused(t, registry.add(module.path, pinOf(hostilePin)));
    t.is(registry.get(module.path), provider);
    module.behave("login");
    t.is(await sign(provider), "signed", call);
  }
});

test.serial("a library that crashes at its start is tried once for each use", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, []);
  const provider = await registry.add(module.path, pinOf(""));
  module.behave("crash-sign");
  t.is(await sign(provider), "module-crashed");
  module.behave("crash-initialize");
  for (let at = 0; at < 3; at++) t.is(await sign(provider), "module-crashed");
  t.is(await stateOf(provider), "module-failed");
  t.is(module.calls().filter((call) => call === "initialize").length, 4);
  t.is(await sign(bystander), "signed");
  module.behave();
  t.is(await sign(provider), "signed");
});

test.serial("a library that exits with status 0 has failed too", async (t) => {
  const { module, registry } = await prepareBeside(t, ["exit-initialize=0"]);
  const failure = await refused(t, registry.add(module.path, pinOf("")));
  t.is(failure.code, "module-crashed");
  t.regex(failure.message, /status 0/);
  module.behave();
  const provider = await registry.add(module.path, pinOf(""));
  module.behave("quit-sign=0");
  t.is(await sign(provider), "module-crashed");
  t.true(await eventually(() => !isLoaded(module.path)));
  module.behave();
  t.is(await sign(provider), "signed");
});
