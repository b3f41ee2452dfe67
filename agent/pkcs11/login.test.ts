import test from "ava";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { listProcesses } from "../../fixtures/processes.ts";
import { killChild, loaded, logins, prepare, readProc, refused, sign } from "./test-hostile.ts";
import { pinOf, stateOf } from "./test-registry.ts";

test("a killed process loses its login, and ssh-add -s restores it", async (t) => {
  const { module, provider, registry } = await loaded(t, ["login"]);
  t.is(await sign(provider), "signed");
  await killChild(provider);
  t.is(await stateOf(provider), "pin-needed");
  t.is(await sign(provider), "pin-required");
  t.is(await sign(await registry.add(module.path, pinOf(hostilePin))), "signed");
  t.is(module.calls().filter((call) => call === "login with a PIN").length, 2);
});

test("a card that is pulled and put back needs its PIN, which was not cached", async (t) => {
  const { module, provider, registry } = await loaded(t, ["login"]);
  module.behave("login", "absent");
  t.is(await sign(provider), "token-removed");
  module.behave("login", "epoch=2");
  t.is(await stateOf(provider), "pin-needed");
  t.is(await sign(provider), "pin-required");
  t.is(await sign(provider), "pin-required");
  t.is(logins(module).length, 1);
  t.is(await sign(await registry.add(module.path, pinOf(hostilePin))), "signed");
});

test("a wrong PIN is tried once, and the failure depends on the tries left", async (t) => {
  const { module, registry } = await prepare(t, ["login"]);
  const code = async (pin: string) =>
    (await refused(t, registry.add(module.path, pinOf(pin)))).code;
  t.is(await code("9999"), "pin-incorrect");
  module.behave("login", "last-try");
  t.is(await code("9999"), "pin-last-try");
  module.behave("login", "locks");
  t.is(await code("9999"), "pin-locked");
  t.deepEqual(logins(module), ["login with a PIN", "login with a PIN", "login with a PIN"]);
  module.behave("login", "locked");
  t.is(await code(hostilePin), "pin-locked");
  t.is(logins(module).length, 3);
});

for (const [value, code] of [
  [0xa0, "pin-incorrect"],
  [0xa1, "pin-incorrect"],
  [0xa2, "pin-incorrect"],
  [0xa3, "pin-incorrect"],
  [0xa4, "pin-locked"],
  [0x50, "user-refused"],
  [0xe0, "token-removed"],
  [0x102, "pin-required"],
  [0x30, "module-crashed"],
] as const) {
  test(`a login that ends with 0x${value.toString(16)} is ${code}`, async (t) => {
    const { module, registry } = await prepare(t, ["login", `login-error=${value}`]);
    const failure = await refused(t, registry.add(module.path, pinOf("4711-secret")));
    t.is(failure.code, code);
    t.notRegex(`${failure.message} ${failure.hint}`, /4711|secret/);
    if (code !== "module-crashed") t.regex(failure.message, /"hostile"/);
  });
}

test("an earlier login is used", async (t) => {
  const { module, registry } = await prepare(t, ["login-error=256", "login"]);
  const failure = await refused(t, registry.add(module.path, pinOf(hostilePin)));
  t.is(failure.code, "no-usable-key"); // the library only reports a login
  t.true(module.calls().includes("login with a PIN"));
});

test("a card with a PIN pad gets no PIN from the agent", async (t) => {
  const { module, registry } = await prepare(t, ["pad"]);
  for (const pin of ["", "1234"]) {
    const provider = await registry.add(module.path, pinOf(pin));
    t.is(await sign(provider), "signed");
  }
  t.deepEqual(new Set(logins(module)), new Set(["login without a PIN"]));
});

test("a key that needs its PIN each time fails with that reason", async (t) => {
  const { provider } = await loaded(t, ["login", "always-authenticate"]);
  t.is(await sign(provider), "pin-required");
});

test("the PIN is in no line of the log and in no process's arguments", async (t) => {
  const lines: string[] = [];
  const pin = "72519384";
  const options = { log: (line: string) => lines.push(line) };
  const { module, registry } = await prepare(t, ["login", `pin=${pin}`], options);
  const provider = await registry.add(module.path, pinOf(pin));
  t.is(await sign(provider), "signed");
  t.true(lines.length > 0);
  t.false(lines.join("\n").includes(pin));
  for (const { pid } of listProcesses()) t.false(readProc(pid, "cmdline").includes(pin));
});
