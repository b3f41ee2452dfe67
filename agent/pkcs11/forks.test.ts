import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { type HostileModule, makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import { isRunning, listProcesses, signal } from "../../fixtures/processes.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { prepareBeside } from "./test-bystander.ts";
import { killChild, readProc, refused, sign, startLoader } from "./test-hostile.ts";
import { pinOf } from "./test-registry.ts";

/** Whether every process that the library left behind has ended. */
function childrenEnd(module: HostileModule): Promise<boolean> {
  return eventually(() => !module.children().some(isRunning));
}

function processesWith(path: string): number[] {
  return listProcesses()
    .map(({ pid }) => pid)
    .filter((pid) => readProc(pid, "maps").includes(path));
}

for (const call of ["constructor", "load", "initialize", "find", "sign"]) {
  test.serial(`a child that a library forks in ${call} ends with its library`, async (t) => {
    const { module, registry, bystander } = await prepareBeside(t, [`fork-${call}`]);
    const provider = await registry.add(module.path, pinOf(""));
    t.is(await sign(provider), "signed");
    t.true(await eventually(() => module.children().some(isRunning)));
    await registry.remove(module.path);
    t.true(await childrenEnd(module));
    t.is(await sign(bystander), "signed");
  });
}

for (const call of ["finalize", "atexit", "destructor"]) {
  test.serial(`a child that a library forks at its end, in ${call}, ends too`, async (t) => {
    const { module, registry } = await prepareBeside(t, [`fork-${call}`]);
    await registry.add(module.path, pinOf(""));
    await registry.remove(module.path);
    t.true(await childrenEnd(module));
  });
}

test("a forked child ends with a library that crashes, hangs or is killed", async (t) => {
  const limits = { sign: 4000 };
  const { module, registry, bystander } = await prepareBeside(t, ["fork-initialize"], { limits });
  const provider = await registry.add(module.path, pinOf(""));
  await killChild(provider);
  t.true(await childrenEnd(module));
  for (const [fault, code] of [
    ["crash-sign", "module-crashed"],
    ["exit-sign", "module-crashed"],
    ["hang-sign", "module-timeout"],
  ] as const) {
    module.behave("fork-initialize", fault);
    t.is(await sign(provider), code);
    t.true(await childrenEnd(module));
  }
  module.behave("fork-initialize", "crash-slots");
  t.is((await refused(t, registry.add(module.path, pinOf("")))).code, "module-crashed");
  t.true(await childrenEnd(module));
  t.is(module.children().length, 5);
  t.is(await sign(bystander), "signed");
});

test("a forked child ends with an agent that a signal ends", async (t) => {
  const workspace = makeWorkspace(t);
  const module = await makeHostileModule(workspace, "fork-initialize");
  const agent = startLoader(workspace, module.path);
  t.true(await eventually(() => module.calls().includes("open")));
  t.true(await eventually(() => module.children().some(isRunning)));
  signal(agent, "SIGTERM");
  t.true(await eventually(() => !isRunning(agent)));
  t.true(await childrenEnd(module));
});

test.serial("a child that leaves its process group delays nothing", async (t) => {
  const { module, registry, bystander } = await prepareBeside(t, ["fork-initialize=away"]);
  const provider = await registry.add(module.path, pinOf(""));
  t.is(await sign(provider), "signed");
  t.true(await eventually(() => module.children().length === 1));
  await killChild(provider);
  module.behave();
  t.is(await sign(provider), "signed");
  await registry.remove(module.path);
  const [child = 0] = module.children();
  t.deepEqual(processesWith(module.path), [child]);
  t.is(await sign(bystander), "signed");
  signal(child, "SIGKILL");
});
