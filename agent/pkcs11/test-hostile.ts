/** What the tests with the hostile module share. */
import { readFileSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import type { ExecutionContext } from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import {
  type HostileModule,
  hostilePin,
  makeHostileModule,
} from "../../fixtures/hostile-module/index.ts";
import { listProcesses, signal } from "../../fixtures/processes.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { Failure } from "../../protocol/failure.ts";
import type { UserInteraction } from "../signer.ts";
import type { Provider } from "./provider.ts";
import {
  makeRegistry,
  noUser,
  type Outcome,
  pinOf,
  signWithKey,
  stateOf,
  type TestOptions,
} from "./test-registry.ts";

/** A hostile module in a workspace and a registry, before anything is loaded. */
export async function prepare(t: ExecutionContext, faults: string[], options: TestOptions = {}) {
  const workspace = makeWorkspace(t);
  const module = await makeHostileModule(workspace, ...faults);
  const registry = makeRegistry(t, options);
  return { workspace, module, registry };
}

/** The same with the module loaded; its PIN is right. */
export async function loaded(t: ExecutionContext, faults: string[], options: TestOptions = {}) {
  const prepared = await prepare(t, faults, options);
  const pin = faults.includes("login") ? hostilePin : "";
  const provider = await prepared.registry.add(prepared.module.path, pinOf(pin));
  return { ...prepared, provider };
}

/** The logins in the calls of a library. */
export function logins(module: HostileModule): string[] {
  return module.calls().filter((call) => call.startsWith("login"));
}

/** "signed", or the code of the failure, for the first key. */
export function sign(provider: Provider, interaction: UserInteraction = noUser): Promise<Outcome> {
  return signOnce(provider, 0, interaction);
}

/** The same, for the key at an index in the provider's list. */
export async function signOnce(
  provider: Provider,
  at: number,
  interaction: UserInteraction = noUser,
): Promise<Outcome> {
  const key = provider.keys[at];
  if (key === undefined) throw new Error("the provider has no such key");
  return signWithKey(provider, key.keyBlob, interaction);
}

export async function refused(t: ExecutionContext, act: Promise<unknown>): Promise<Failure> {
  const error = await t.throwsAsync(act, { instanceOf: Failure });
  return error ?? new Failure("internal", "nothing was thrown");
}

/** Waits until the last request to a provider has been sent to the child. */
export function sent(): Promise<void> {
  return setImmediate();
}

/** The process that has a file mapped, as a child has its library. */
export function findProcess(path: string): number | undefined {
  return listProcesses().find(({ pid }) => readProc(pid, "maps").includes(path))?.pid;
}

export function isLoaded(path: string): boolean {
  return findProcess(path) !== undefined;
}

/** A file of a process below /proc; empty when it has ended. */
export function readProc(pid: number, name: string): string {
  try {
    return readFileSync(`/proc/${pid}/${name}`, "latin1");
  } catch {
    return "";
  }
}

/** Kills the process of a provider and waits until the provider notices. */
export async function killChild(provider: Provider): Promise<void> {
  signal(findProcess(provider.path) ?? 0, "SIGKILL");
  await eventually(async () => (await stateOf(provider)) !== "ready");
}

/**
 * A process that loads a library, and exits at SIGTERM at once, as the agent does. @returns its PID
 */
export function startLoader(workspace: Workspace, path: string): number {
  const registry = new URL("test-registry.ts", import.meta.url).href;
  const program = `
    import { makeRegistry } from ${JSON.stringify(registry)};
    process.on("SIGTERM", () => process.exit(2));
    const registry = makeRegistry({ teardown() {} });
    await registry.add(${JSON.stringify(path)}, Buffer.alloc(0));
    setInterval(() => {}, 1000);`;
  const args = ["--import=tsx", "--input-type=module", "-e", program];
  const { pid } = workspace.spawn(process.execPath, args, { cwd: process.cwd() });
  if (pid === undefined) throw new Error("the agent did not start");
  return pid;
}
