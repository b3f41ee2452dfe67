/** Memory: of the agents, with few keys and with many, and of the process that loads a card. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { childrenOf, residentMemory, shareOfMemory } from "../fixtures/processes.ts";
import { answers } from "../fixtures/system-agent.ts";
import { endAgent, forEachSide, type Pair, pidOf, type Side, startAgent } from "./agents.ts";
import { makeEd25519Key, type Token } from "./keys.ts";
import { endProcess, type Place } from "./place.ts";

/** One line of the table, in bytes. */
export interface MemoryResult {
  readonly name: string;
  readonly figures: Pair<number>;
  /** Of a Node.js that listens at a socket and does nothing else. */
  readonly bareNode: number;
}

const fewKeys = 3;

/** Milliseconds after which a process has done what it does when it has started. */
const settling = 500;

/** Gives a new agent of each side few keys, then many, and looks at its memory after each. */
export async function measureMemory(place: Place, manyKeys: number): Promise<MemoryResult[]> {
  const keys = Array.from({ length: manyKeys }, makeEd25519Key);
  const { resident: bareNode } = await bareNodeMemory(place);
  const measured = await forEachSide(async (side) => {
    const agent = await startAgent(place, side);
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

/** Loads a token in a new agent of each side, and looks at the process that does it. */
export async function measureCardMemory(place: Place, token: Token): Promise<MemoryResult[]> {
  const bareNode = await bareNodeMemory(place);
  const measured = await forEachSide(async (side) => {
    const agent = await startAgent(place, side);
    await agent.client.addSmartcardKey(token.library, Buffer.from(token.pin));
    await sleep(settling);
    const [helper] = childrenOf(pidOf(agent));
    if (helper === undefined) throw new Error(`The ${side} agent has no process for the card.`);
    const memory = memoryOf(helper);
    await endAgent(agent);
    return memory;
  });
  const resident = {
    name: "a card's process",
    figures: pairOf((side) => measured[side].resident),
    bareNode: bareNode.resident,
  };
  const shares = pairOf((side) => measured[side].share);
  const share = {
    name: "its share of it",
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

async function bareNodeMemory(place: Place): Promise<ProcessMemory> {
  const path = join(place.folder, "idle");
  const program = 'require("node:net").createServer().listen(process.argv[1])';
  const child = place.start(process.execPath, ["-e", program, path]);
  while (!(await answers(path))) {
    if (child.exitCode !== null) throw new Error("An idle Node.js does not start.");
    await sleep(5);
  }
  await sleep(settling);
  const memory = memoryOf(child.pid ?? 0);
  await endProcess(child);
  rmSync(path);
  return memory;
}

function pairOf(figure: (side: Side) => number): Pair<number> {
  return { cardagent: figure("cardagent"), system: figure("system") };
}
