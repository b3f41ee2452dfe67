/** PINs that are forgotten or cached while a login is in progress. */
import { copyFileSync } from "node:fs";
import test from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { configureP11Kit } from "../../fixtures/p11-kit.ts";
import { secretsInMemory, testAsRoot } from "../../fixtures/process-memory.ts";
import { makeToken } from "../../fixtures/softhsm.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import type { Provider } from "./provider.ts";
import { findProcess, loaded, logins, prepare, sent, sign } from "./test-hostile.ts";
import { makeRegistry, pinOf } from "./test-registry.ts";
import { makeUser } from "./test-user.ts";

test("a PIN forgotten while its card is being loaded is not cached", async (t) => {
  const { module, registry } = await prepare(t, [], { keepPin: 3600 });
  const login = module.holdAt("login", "login");
  const adding = registry.add(module.path, pinOf(hostilePin));
  t.true(await login.reached());
  registry.forgetPins();
  await sent();
  login.goOn();
  const provider = await adding;
  module.behave("login", "lose-login");
  t.is(await sign(provider), "pin-required");
});

for (const [kind, again] of [
  ["lose-login", "lose-login=2"],
  ["always-authenticate", "always-authenticate"],
] as const) {
  test(`a PIN forgotten while it is tried is not cached (${kind})`, async (t) => {
    const faults = again === kind ? ["login", kind] : ["login"];
    const { module, registry, provider } = await loaded(t, faults, { keepPin: 3600 });
    registry.forgetPins();
    const login = module.holdAt("login", "login", kind);
    const signing = sign(provider, makeUser(hostilePin).interaction);
    t.true(await login.reached());
    registry.forgetPins();
    await sent();
    login.goOn();
    t.is(await signing, "signed");
    module.behave("login", again);
    t.is(await sign(provider), "pin-required");
  });
}

test("a card pulled out during a login with the cached PIN gets the PIN when it is back", async (t) => {
  const { module, provider } = await loaded(t, ["login"], { keepPin: 3600 });
  module.behave("login", "lose-login", "login-error=0x32");
  t.is(await sign(provider), "token-removed");
  module.behave("login", "lose-login");
  t.is(await sign(provider), "signed");
});

test("a cached PIN whose login was disturbed is not tried again: the user is asked", async (t) => {
  const { module, provider } = await loaded(t, ["login"], { keepPin: 3600 });
  const before = logins(module).length;
  module.behave("login", "lose-login", "login-error=0x30");
  t.is(await sign(provider), "pin-required");
  t.is(await sign(provider), "pin-required");
  t.is(logins(module).length, before + 1);
  module.behave("login", "lose-login");
  const { asked, interaction } = makeUser(hostilePin);
  t.is(await sign(provider, interaction), "signed");
  t.is(asked.length, 1);
});

/** A long PIN, since freed memory loses its beginning. */
const longPin = "q7Zp-distinct-pin-51-and-more-that-is-not-lost";

function pinsInMemory({ path }: Provider): string[] {
  return secretsInMemory(findProcess(path) ?? 0, { pin: pinOf(longPin) });
}

for (const error of ["0x30", "0x5"]) {
  testAsRoot(`no PIN stays in memory when a signature fails with ${error}`, async (t) => {
    const { module, provider } = await loaded(t, ["login", "always-authenticate"]);
    module.behave("login", "always-authenticate", `sign-init-error=${error}`);
    t.not(await sign(provider, makeUser(longPin).interaction), "signed");
    t.deepEqual(pinsInMemory(provider), []);
  });
}

testAsRoot("no PIN stays in memory when a token was loaded and has signed", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, {
    pin: longPin,
    keys: [{ type: "p256", label: "key", id: "01" }],
  });
  const library = workspace.path("softhsm.so"); // no other process has this one
  copyFileSync(token.library, library);
  const provider = await makeRegistry(t, { env: token.env }).add(library, pinOf(longPin));
  t.is(await sign(provider), "signed");
  t.deepEqual(pinsInMemory(provider), []);
});

testAsRoot("no PIN stays in memory behind p11-kit's proxy", async (t) => {
  const workspace = makeWorkspace(t);
  const keys = [{ type: "p256", label: "key", id: "01" }] as const;
  const token = await makeToken(workspace, { pin: longPin, keys: [...keys] });
  const { library, env } = await configureP11Kit(workspace, [{ path: token.library }]);
  const proxy = workspace.path("proxy.so");
  copyFileSync(library, proxy);
  const registry = makeRegistry(t, { env: { ...env, ...token.env } });
  const provider = await registry.add(proxy, pinOf(longPin));
  t.is(await sign(provider), "signed");
  t.deepEqual(pinsInMemory(provider), []);
});
