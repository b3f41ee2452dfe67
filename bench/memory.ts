/** The memory of the agents, with few and with many keys, and of the process that loads a token. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { childrenOf, residentMemory, shareOfMemory } from "../fixtures/processes.ts";
import { answers } from "../fixtures/system-agent.ts";
import { endAgent, forEachSide, type Pair, pidOf, type Side, startAgent } from "./agents.ts";
import { makeEd25519Key, type Token } from "./keys.ts";
import { endProcess, type Workspace } from "./workspace.ts";

/** One line of the table, in bytes. */
export interface MemoryResult {
  readonly name: string;
  readonly figures: Pair<number>;
  /** The memory of a Node.js that only listens at a socket. */
  readonly bareNode: number;
}

const fewKeys = 3;

/** The milliseconds that a process gets to finish its start. */
const settlingTime = 500;

/** Measures a new agent of each side with few keys, then with many. */
export async function measureMemory(
  workspace: Workspace,
  manyKeys: number,
): Promise<MemoryResult[]> {
  const keys = Array.from({ length: manyKeys }, makeEd25519Key);
  const { resident: bareNode } = await bareNodeMemory(workspace);
  const measured = await forEachSide(async (side) => {
    const agent = await startAgent(workspace, side);
    const figures: number[] = [];
    for (const count of [fewKeys, manyKeys]) {
      const { length: held } = await agent.client.identities();
      const added = keys.slice(held, count);
      await Promise.all(added.map((key, at) => agent.client.addIdentity(key, `key ${held + at}`)));
      const { length } = await agent.client.identities();
      if (length !== count) throw new Error(`The ${side} agent lists ${length} of ${count} keys.`);
      figures.push(1024 * residentMemory(pidOf(agent)));
    }
    await endAgent(agent);
    return figures;
  });
  return [fewKeys, manyKeys].map((count, at) => ({
    name: `${count} Ed25519 keys`,
    figures: pairOf((side) => measured[side][at] ?? Number.NaN),
    bareNode,
  }));
}

/** Measures the process that loads a token, for a new agent of each side. */
export async function measureCardMemory(
  workspace: Workspace,
  token: Token,
): Promise<MemoryResult[]> {
  const bareNode = await bareNodeMemory(workspace);
  const measured = await forEachSide(async (side) => {
    const agent = await startAgent(workspace, side);
    await agent.client.addSmartcardKey(token.library, Buffer.from(token.pin));
    await sleep(settlingTime);
    const [helper] = childrenOf(pidOf(agent));
    if (helper === undefined) throw new Error(`The ${side} agent has no process for the card.`);
    const memory = memoryOf(helper);
    await endAgent(agent);
    return memory;
  });
  const resident = {
    name: "process of a token",
    figures: pairOf((side) => measured[side].resident),
    bareNode: bareNode.resident,
  };
  const shares = pairOf((side) => measured[side].share);
  const share = {
    name: "the same, PSS",
    figures: shares,
    bareNode: bareNode.share,
  };
  return Number.isNaN(shares.cardagent) ? [resident] : [resident, share];
}

/** The memory of a process, in bytes. */
interface ProcessMemory {
  readonly resident: number;
  readonly share: number;
}

function memoryOf(pid: number): ProcessMemory {
  return { resident: 1024 * residentMemory(pid), share: 1024 * (shareOfMemory(pid) ?? Number.NaN) };
}

async function bareNodeMemory(workspace: Workspace): Promise<ProcessMemory> {
  const path = join(workspace.folder, "idle");
  const program = 'require("node:net").createServer().listen(process.argv[1])';
  const child = workspace.start(process.execPath, ["-e", program, path]);
  while (!(await answers(path))) {
    if (child.exitCode !== null) throw new Error("An idle Node.js does not start.");
    await sleep(5);
  }
  await sleep(settlingTime);
  const memory = memoryOf(child.pid ?? 0);
  await endProcess(child);
  rmSync(path);
  return memory;
}

function pairOf(figure: (side: Side) => number): Pair<number> {
  return { cardagent: figure("cardagent"), system: figure("system") };
}
