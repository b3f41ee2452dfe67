/** Resident memory of the agents, with few keys and with many. */
import { endAgent, forEachSide, type Pair, residentMemory, startAgent } from "./agents.ts";
import { makeEd25519Key } from "./keys.ts";
import type { Place } from "./place.ts";

/** One line of the table. */
export interface MemoryResult {
  /** Ed25519 keys in the agent. */
  readonly keys: number;
  /** Bytes. */
  readonly figures: Pair<number>;
}

const fewKeys = 3;

/** Gives a new agent of each side few keys, then many, and looks at its memory after each. */
export async function measureMemory(place: Place, manyKeys: number): Promise<MemoryResult[]> {
  const keys = Array.from({ length: manyKeys }, makeEd25519Key);
  const measured = await forEachSide(async (side) => {
    const agent = await startAgent(place, side);
    const figures: number[] = [];
    for (const count of [fewKeys, manyKeys]) {
      const { length: held } = await agent.client.identities();
      const added = keys.slice(held, count);
      await Promise.all(added.map((key, at) => agent.client.addIdentity(key, `key ${held + at}`)));
      const { length } = await agent.client.identities();
      if (length !== count) throw new Error(`The ${side} agent lists ${length} of ${count} keys.`);
      figures.push(residentMemory(agent.process.pid));
    }
    await endAgent(agent);
    return figures;
  });
  return [fewKeys, manyKeys].map((count, at) => ({
    keys: count,
    figures: {
      cardagent: measured.cardagent[at] ?? Number.NaN,
      system: measured.system[at] ?? Number.NaN,
    },
  }));
}
