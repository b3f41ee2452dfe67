import { readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { hostilePin, makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import { isRunning, listProcesses, signal } from "../../fixtures/processes.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { Failure, type FailureCode } from "../../protocol/failure.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/signature.ts";
import type { Provider } from "./provider.ts";
import { ProviderRegistry } from "./registry.ts";
import { makeRegistry, pinOf, type TestOptions } from "./test-registry.ts";

const algorithm = "ecdsa-sha2-nistp256";
const data = Buffer.from("what is signed");

/** A hostile module in a workspace and a registry, before anything is loaded. */
async function prepare(t: ExecutionContext, faults: string[], options: TestOptions = {}) {
  const workspace = makeWorkspace(t);
  const module = await makeHostileModule(workspace, ...faults);
  const registry = makeRegistry(t, options);
  return { workspace, module, registry };
}

/** The same with the module loaded; its PIN is right. */
async function loaded(t: ExecutionContext, faults: string[], options: TestOptions = {}) {
  const prepared = await prepare(t, faults, options);
  const pin = faults.includes("login") ? hostilePin : "";
  const provider = await prepared.registry.add(prepared.module.path, pinOf(pin));
  return { ...prepared, provider };
}

/** "signed", or the code of the refusal. */
async function sign(provider: Provider): Promise<FailureCode | "signed" | "garbage"> {
  const [key] = provider.keys;
  if (key === undefined) throw new Error("the provider has no key");
  try {
    const signature = await provider.sign(key.keyBlob, algorithm, data);
    const publicKey = decodePublicKey(key.keyBlob);
    const good = publicKey !== undefined && verifySignature(publicKey, signature, data);
    return good ? "signed" : "garbage";
  } catch (error) {
    if (error instanceof Failure) return error.code;
    throw error;
  }
}

async function refused(t: ExecutionContext, act: Promise<unknown>): Promise<Failure> {
  const error = await t.throwsAsync(act, { instanceOf: Failure });
  return error ?? new Failure("internal", "nothing was thrown");
}

/** The process that has a file mapped, as the helper has its library. */
function findProcess(path: string): number | undefined {
  return listProcesses().find(({ pid }) => readProc(pid, "maps").includes(path))?.pid;
}

function isLoaded(path: string): boolean {
  return findProcess(path) !== undefined;
}

/** A file of a process below /proc; empty when it has ended. */
function readProc(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch {
    return "";
  }
}

/** Kills the process of a provider and waits until that is noticed. */
async function killHelper(provider: Provider): Promise<void> {
  signal(findProcess(provider.path) ?? 0, "SIGKILL");
  await eventually(async () => (await provider.state()) !== "ready");
}

test("the hostile module signs well when nothing is wrong", async (t) => {
  const { provider, module } = await loaded(t, []);
  for (let at = 0; at < 20; at++) t.is(await sign(provider), "signed");
  t.is(await provider.state(), "ready");
  await provider.close();
  t.is(module.calls().at(-1), "finalize");
});

test("a raw EC point, a key without ID or label and garbage beside it do no harm", async (t) => {
  const { provider, module } = await loaded(t, ["raw-point", "no-id", "no-label", "garbage"]);
  t.is(provider.keys.length, 1);
  t.is(provider.keys[0]?.comment, module.path);
  t.is(await sign(provider), "signed");
});

test("a library that prints does not disturb anybody", async (t) => {
  const { provider } = await loaded(t, ["print"]);
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
  test(`a library that crashes ${name} is refused for that`, async (t) => {
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

test("a library that gives no functions or does not start is refused for that", async (t) => {
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
  const { module, registry } = await prepare(t, ["close-descriptors"]);
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "module-crashed");
});

test("no card and an empty card are told apart", async (t) => {
  const { module, registry } = await prepare(t, ["absent"]);
  const none = await refused(t, registry.add(module.path, pinOf("")));
  t.is(none.code, "no-token");
  module.behave("uninitialized");
  const blank = await refused(t, registry.add(module.path, pinOf("")));
  t.is(blank.code, "no-token");
  t.not(blank.message, none.message);
  module.behave("keyless");
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "no-usable-key");
});

test("after a crash in a signature the library is loaded again", async (t) => {
  const { module, provider } = await loaded(t, []);
  module.behave("crash-sign");
  t.is(await sign(provider), "module-crashed");
  t.is(await provider.state(), "module-failed");
  module.behave();
  t.is(await sign(provider), "signed");
  t.is(await provider.state(), "ready");
});

test("a killed process is started again, once for all who wait", async (t) => {
  const { module, provider } = await loaded(t, []);
  await killHelper(provider);
  const results = await Promise.all(Array.from({ length: 8 }, () => sign(provider)));
  t.deepEqual(new Set(results), new Set(["signed"]));
  t.is(module.calls().filter((call) => call === "initialize").length, 2);
});

test("a killed process that was logged in asks for the PIN, and -s helps", async (t) => {
  const { module, provider, registry } = await loaded(t, ["login"]);
  t.is(await sign(provider), "signed");
  await killHelper(provider);
  t.is(await provider.state(), "pin-needed");
  t.is(await sign(provider), "pin-required");
  t.is(await sign(await registry.add(module.path, pinOf(hostilePin))), "signed");
  t.is(module.calls().filter((call) => call === "login with a PIN").length, 2);
});

test("a signature that hangs is given up, and the next one is made", async (t) => {
  const { module, provider } = await loaded(t, [], { limits: { sign: 1500 } });
  module.behave("hang-sign");
  t.is(await sign(provider), "module-timeout");
  module.behave();
  t.is(await sign(provider), "signed");
});

test("while a signature takes its time, the state is known and others are made", async (t) => {
  const { module, provider } = await loaded(t, []);
  module.behave("hang-first-signature");
  const slow = sign(provider);
  await eventually(() => module.calls().includes("sign"));
  t.is(await provider.state(), "ready");
  t.is(await sign(provider), "signed");
  module.behave();
  t.is(await slow, "signed");
});

test("a library that does not tell its state in time counts as failed, and is left alone", async (t) => {
  const { module, provider } = await loaded(t, ["slot=7"], { limits: { status: 300 } });
  module.behave("hang-slots", "slot=8");
  t.is(await provider.state(), "module-failed");
  module.behave("slot=7");
  t.true(await eventually(async () => (await provider.state()) === "ready"));
  t.is(module.calls().filter((call) => call === "initialize").length, 1);
});

test("an error in one signature is told, and the next one is made", async (t) => {
  const { module, provider } = await loaded(t, ["login"]);
  module.behave("login", "sign-error=0x30");
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
  t.is(await provider.state(), "card-absent");
  t.is(await sign(provider), "token-removed");
  module.behave("epoch=2", "slot=9");
  t.is(await provider.state(), "ready");
  t.is(await sign(provider), "signed");
});

test("a card that is pulled and put back asks for its PIN, which was not kept", async (t) => {
  const { module, provider, registry } = await loaded(t, ["login"]);
  module.behave("login", "absent");
  t.is(await sign(provider), "token-removed");
  module.behave("login", "epoch=2");
  t.is(await provider.state(), "pin-needed");
  t.is(await sign(provider), "pin-required");
  t.is(await sign(provider), "pin-required");
  t.is(module.calls().filter((call) => call.startsWith("login")).length, 1);
  t.is(await sign(await registry.add(module.path, pinOf(hostilePin))), "signed");
});

test("another card in the reader is not taken for the first one", async (t) => {
  const { module, provider } = await loaded(t, []);
  module.behave("serial=2", "epoch=2");
  t.is(await provider.state(), "card-absent");
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

test("a wrong PIN is tried once, and told by how many tries are left", async (t) => {
  const { module, registry } = await prepare(t, ["login"]);
  const code = async (pin: string) =>
    (await refused(t, registry.add(module.path, pinOf(pin)))).code;
  t.is(await code("9999"), "pin-incorrect");
  module.behave("login", "last-try");
  t.is(await code("9999"), "pin-last-try");
  module.behave("login", "locks");
  t.is(await code("9999"), "pin-locked");
  t.deepEqual(
    module.calls().filter((call) => call.startsWith("login")),
    ["login with a PIN", "login with a PIN", "login with a PIN"],
  );
  module.behave("login", "locked");
  t.is(await code(hostilePin), "pin-locked");
  t.is(module.calls().filter((call) => call.startsWith("login")).length, 3);
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

test("a login that was made already is good", async (t) => {
  const { module, registry } = await prepare(t, ["login-error=256", "login"]);
  const failure = await refused(t, registry.add(module.path, pinOf(hostilePin)));
  t.is(failure.code, "no-usable-key"); // this one only says so
  t.true(module.calls().includes("login with a PIN"));
});

test("a card with a PIN pad gets no PIN from here", async (t) => {
  const { module, registry } = await prepare(t, ["pad"]);
  for (const pin of ["", "1234"]) {
    const provider = await registry.add(module.path, pinOf(pin));
    t.is(await sign(provider), "signed");
  }
  t.deepEqual(
    new Set(module.calls().filter((call) => call.startsWith("login"))),
    new Set(["login without a PIN"]),
  );
});

test("a key that wants its PIN each time says so", async (t) => {
  const { provider } = await loaded(t, ["login", "always-authenticate"]);
  t.is(await sign(provider), "pin-required");
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

test("a missing helper program is a failure, and nothing worse", async (t) => {
  const { module } = await prepare(t, []);
  const registry = new ProviderRegistry({
    allowed: { allows: () => true },
    helper: { file: "/nowhere/helper", args: [] },
  });
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "internal");
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

test("a child process ends when its agent does, even within a call that hangs", async (t) => {
  const { workspace, module } = await prepare(t, []);
  for (const faults of [[], ["hang-slots"]]) {
    module.behave(...faults);
    const agent = startAgent(workspace, module.path);
    await eventually(() => isLoaded(module.path));
    const child = findProcess(module.path) ?? 0;
    t.true(isRunning(child));
    signal(agent, "SIGKILL");
    t.true(await eventually(() => !isRunning(child)));
  }
});

/** A process that loads a library and lives on. */
function startAgent(workspace: Workspace, path: string): number {
  const registry = new URL("test-registry.ts", import.meta.url).href;
  const program = `
    import { makeRegistry } from ${JSON.stringify(registry)};
    const registry = makeRegistry({ teardown() {} });
    await registry.add(${JSON.stringify(path)}, Buffer.alloc(0));
    setInterval(() => {}, 1000);`;
  const args = ["--import=tsx", "--input-type=module", "-e", program];
  const { pid } = workspace.spawn(process.execPath, args, { cwd: process.cwd() });
  if (pid === undefined) throw new Error("the agent did not start");
  return pid;
}

/** Waits for something to come true, for some seconds at most, and says whether it did. */
async function eventually(holds: () => boolean | Promise<boolean>): Promise<boolean> {
  for (let attempt = 0; attempt < 400; attempt++) {
    if (await holds()) return true;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  return false;
}
