import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { isRunning, signal } from "../../fixtures/processes.ts";
import { parseAllowedProviders } from "../policy/allowed-providers.ts";
import { Child } from "./child-process.ts";
import { ProviderRegistry } from "./registry.ts";
import { SpareChild, type SpareTimes } from "./spare-child.ts";
import { childFromSources } from "./test-registry.ts";

const atOnce: SpareTimes = { delay: 0, life: 60_000 };

/** Spare processes, and a list of all that were started. */
function makeSpare(t: ExecutionContext, times: SpareTimes | undefined) {
  const started: Child[] = [];
  const start = () => {
    const child = new Child(childFromSources(), false);
    started.push(child);
    return child;
  };
  t.teardown(() => Promise.all(started.map((child) => child.abort())));
  return { spare: new SpareChild(start, times), started };
}

/** Whether a process runs and replies. */
async function answers(child: Child | undefined): Promise<boolean> {
  const reply = await child?.ask({ type: "state" }, 20_000, "leave");
  return reply?.type === "state";
}

test("the spare process is taken once", async (t) => {
  const { spare, started } = makeSpare(t, atOnce);
  spare.keep();
  spare.keep();
  await eventually(() => started.length > 0);
  t.true(await answers(started[0]));
  t.true(spare.take() === started[0]);
  t.is(started.length, 1);
  t.true(spare.take() === started[1]);
  t.is(started.length, 2);
  t.true(await answers(started[1]));
});

test("an unused spare process ends", async (t) => {
  const { spare, started } = makeSpare(t, { delay: 0, life: 20 });
  spare.keep();
  await eventually(() => started.length > 0);
  await started[0]?.ended;
  t.false(isRunning(started[0]?.pid ?? 0));
  t.true(spare.take() === started[1]);
  t.true(await answers(started[1]));
});

test("a killed spare process is not taken", async (t) => {
  const { spare, started } = makeSpare(t, atOnce);
  spare.keep();
  await eventually(() => started.length > 0);
  signal(started[0]?.pid ?? 0, "SIGKILL");
  await started[0]?.ended;
  t.is(started.length, 1);
  t.true(await answers(spare.take()));
  t.is(started.length, 2);
});

test("a process taken before the delay is the only one", async (t) => {
  const { spare, started } = makeSpare(t, { delay: 50, life: 60_000 });
  spare.keep();
  t.true(spare.take() === started[0]);
  await sleep(100);
  t.is(started.length, 1);
});

test("without times, no process is started ahead of time", async (t) => {
  const { spare, started } = makeSpare(t, undefined);
  spare.keep();
  await sleep(20);
  t.is(started.length, 0);
});

test("where no library may be loaded, there is no spare process", async (t) => {
  const starts: string[] = [];
  const { file, args } = childFromSources();
  for (const patterns of ["", "!/usr/lib/*", "/usr/lib/*"]) {
    const command = {
      get file() {
        starts.push(patterns);
        return file;
      },
      args,
    };
    const allowed = parseAllowedProviders(patterns);
    const spareTimes = { delay: 0, life: 100 };
    const registry = new ProviderRegistry({ allowed, child: command, spareTimes });
    registry.noteUse();
  }
  await eventually(() => starts.length > 0);
  await sleep(20);
  t.deepEqual(starts, ["/usr/lib/*"]);
});

test("a spare process is started only once cards are used", async (t) => {
  let starts = 0;
  const { file, args } = childFromSources();
  const child = {
    get file() {
      starts++;
      return file;
    },
    args,
  };
  const allowed = parseAllowedProviders("*");
  const registry = new ProviderRegistry({ allowed, child, spareTimes: { delay: 0, life: 100 } });
  await sleep(20);
  t.is(starts, 0);
  await t.throwsAsync(registry.prepare("/no/such/library.so"));
  t.true(await eventually(() => starts === 1));
  registry.noteUse();
  await sleep(20);
  t.is(starts, 1);
});
