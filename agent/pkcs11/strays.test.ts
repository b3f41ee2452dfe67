import { readdirSync, readlinkSync } from "node:fs";
import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { hostilePin } from "../../fixtures/hostile-module/index.ts";
import { prepareBeside, use } from "./test-bystander.ts";
import { findProcess, isLoaded, readProc, refused, sign } from "./test-hostile.ts";
import { makeRegistry, pinOf, stateOf } from "./test-registry.ts";

/** The sockets of a process, as /proc/net/tcp numbers them. */
function socketsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap(
    (name) => /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${name}`))?.[1] ?? [],
  );
}

test.serial("the output of a library in any call is discarded", async (t) => {
  const calls = [
    "constructor",
    "load",
    "initialize",
    "login",
    "find",
    "sign",
    "finalize",
    "atexit",
  ];
  const words = calls.map((call) => `print-${call}`);
  const { module, registry, bystander } = await prepareBeside(t, ["login", ...words]);
  const provider = await registry.add(module.path, pinOf(hostilePin));
  t.is(await sign(provider), "signed");
  t.is(await stateOf(provider), "ready");
  t.is(await sign(bystander), "signed");
  await registry.remove(module.path);
  t.false(isLoaded(module.path));
});

test.serial("a library that writes to all descriptors is refused with that reason", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, []);
  for (const call of ["constructor", "initialize", "slots", "find"]) {
    module.behave(`write-${call}`);
    const failure = await refused(t, registry.add(module.path, pinOf("")));
    t.is(failure.code, "module-crashed");
    t.true(failure.message.includes(module.path));
    t.true(await eventually(() => !isLoaded(module.path)));
    t.is(await sign(bystander), "signed");
  }
  module.behave("write-sign");
  t.is(await use(registry, module.path), "module-crashed");
  t.is(await sign(bystander), "signed");
  module.behave("write-finalize", "write-atexit", "write-destructor");
  t.is(await use(registry, module.path), "signed");
  await registry.remove(module.path);
  t.is(await sign(bystander), "signed");
  module.behave();
  t.is(await use(registry, module.path), "signed");
});

test("half a message on the agent's descriptor blocks only its own library", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, [], { limits: { sign: 4000 } });
  const provider = await registry.add(module.path, pinOf(""));
  module.behave("write-sign=3", "write-bytes=\\x00\\x01\\x00\\x00\\x02");
  const pending = sign(provider);
  t.is(await sign(bystander), "signed");
  t.is(await pending, "module-timeout");
  module.behave();
  t.is(await sign(provider), "signed");
});

for (const [range, whenLoaded, whenUsed] of [
  ["0-2", "signed", "signed"],
  ["3", "module-crashed", "module-crashed"],
  ["4-30", "module-crashed", "module-crashed"],
  ["0-100", "module-crashed", "module-crashed"],
] as const) {
  test.serial(`a library that closes the descriptors ${range} affects itself alone`, async (t) => {
    const { module, registry, bystander } = await prepareBeside(t, [], { limits: { sign: 5000 } });
    for (const [call, expected] of [
      ["initialize", whenLoaded],
      ["find", whenLoaded],
      ["sign", whenUsed],
      ["finalize", "signed"],
    ] as const) {
      module.behave(`close-${call}=${range}`);
      t.is(await use(registry, module.path), expected, call);
      t.is(await sign(bystander), "signed");
      if (registry.get(module.path) !== undefined) await registry.remove(module.path);
      t.true(await eventually(() => !isLoaded(module.path)));
    }
    module.behave();
    t.is(await use(registry, module.path), "signed");
  });
}

test.serial("a library with busy threads signs, and ends when it is unloaded", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, ["threads-initialize=3"]);
  const provider = await registry.add(module.path, pinOf(""));
  t.is(await sign(provider), "signed");
  t.is(await stateOf(provider), "ready");
  t.is(await sign(bystander), "signed");
  await registry.remove(module.path);
  t.false(isLoaded(module.path));
});

test("a library that handles signals is ended all the same", async (t) => {
  const limits = { sign: 4000, close: 300 };
  const own = "signals-initialize";
  const { module, registry, bystander } = await prepareBeside(t, [own], { limits });
  const provider = await registry.add(module.path, pinOf(""));
  t.is(await sign(provider), "signed");
  module.behave(own, "hang-sign");
  t.is(await sign(provider), "module-timeout");
  t.true(await eventually(() => !isLoaded(module.path)));
  module.behave(own);
  t.is(await sign(provider), "signed");
  module.behave(own, "hang-finalize");
  await registry.remove(module.path);
  t.false(isLoaded(module.path));
  t.is(await sign(bystander), "signed");
});

test.serial(
  "a library that changes folder, environment and umask signs, also when reloaded",
  async (t) => {
    const words = ["wander-constructor", "wander-sign", "wander-finalize"];
    const { module, registry, bystander } = await prepareBeside(t, words);
    for (let at = 0; at < 2; at++) {
      const provider = await registry.add(module.path, pinOf(""));
      t.is(await sign(provider), "signed");
      t.is(await sign(provider), "signed");
    }
    t.is(await sign(bystander), "signed");
    t.not(process.cwd(), "/proc");
  },
);

for (const [name, number, expected] of [
  ["SIGHUP", 1, "module-crashed"],
  ["SIGINT", 2, "module-crashed"],
  ["SIGUSR1", 10, "signed"],
  ["SIGUSR2", 12, "module-crashed"],
  ["SIGPIPE", 13, "signed"],
  ["SIGTERM", 15, "module-crashed"],
  ["SIGCHLD", 17, "signed"],
] as const) {
  test.serial(`a library that raises ${name} affects itself alone`, async (t) => {
    const { module, registry, bystander } = await prepareBeside(t, []);
    for (const call of ["constructor", "initialize", "sign"]) {
      module.behave(`raise-${call}=${number}`);
      t.is(await use(registry, module.path), expected, call);
      t.is(await sign(bystander), "signed");
    }
    module.behave();
    t.is(await use(registry, module.path), "signed");
  });
}

test("a library that stops its process is ended at its timeout", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, [], { limits: { sign: 4000 } });
  const provider = await registry.add(module.path, pinOf(""));
  module.behave("raise-sign=19"); // SIGSTOP
  t.is(await sign(provider), "module-timeout");
  t.is(await sign(bystander), "signed");
  module.behave("raise-initialize=19");
  const impatient = makeRegistry(t, { limits: { load: 1500 } });
  t.is(await use(impatient, module.path), "module-timeout");
  t.true(await eventually(() => !isLoaded(module.path)));
  module.behave();
  t.is(await sign(provider), "signed");
});

test.serial("no signal opens a debugger in the library's process", async (t) => {
  const { module, registry } = await prepareBeside(t, ["raise-initialize=10"]); // SIGUSR1
  const provider = await registry.add(module.path, pinOf(""));
  for (let at = 0; at < 10; at++) t.is(await sign(provider), "signed");
  const pid = findProcess(module.path) ?? 0;
  const tcp = readProc(pid, "net/tcp");
  t.deepEqual(
    socketsOf(pid).filter((socket) => tcp.includes(` ${socket} `)),
    [],
  );
});
