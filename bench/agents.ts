/** The agents that are compared: this project's, and the system's. */
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { AgentClient } from "../protocol/client.ts";
import { endProcess, type Place, projectRoot } from "./place.ts";

/** The two sides of every comparison, in the order of the table. */
export const sides = ["cardagent", "system"] as const;
export type Side = (typeof sides)[number];

/** One value for each side. */
export type Pair<Value> = Readonly<Record<Side, Value>>;

/** The programs of each side. */
export const programs: Pair<{ readonly add: string; readonly agent: string }> = {
  cardagent: {
    add: join(projectRoot, "dist", "bin", "ssh-add"),
    agent: join(projectRoot, "dist", "bin", "ssh-agent"),
  },
  system: { add: "/usr/bin/ssh-add", agent: "/usr/bin/ssh-agent" },
};

/** An agent that answers. */
export interface RunningAgent {
  readonly side: Side;
  readonly socket: string;
  readonly client: AgentClient;
  readonly process: ChildProcess;
}

/** The number of an agent's process. */
export function pidOf({ process: { pid }, side }: RunningAgent): number {
  if (pid === undefined) throw new Error(`The ${side} agent does not run.`);
  return pid;
}

let started = 0;

/** Starts an agent that may load any provider, and connects to it. */
export async function startAgent(place: Place, side: Side): Promise<RunningAgent> {
  const socket = join(place.folder, `${side}-${++started}`);
  const child = place.start(programs[side].agent, ["-D", "-P", "*", "-a", socket]);
  const client = await untilAnswered(socket, () => {
    if (child.exitCode !== null) throw new Error(`${programs[side].agent} did not start.`);
  });
  return { side, socket, client, process: child };
}

/** A socket may be there before anybody listens at it, so connecting is tried until it succeeds. */
async function untilAnswered(socket: string, check: () => void): Promise<AgentClient> {
  for (;;) {
    check();
    try {
      return await AgentClient.connect(socket);
    } catch {
      await sleep(5);
    }
  }
}

/** Ends an agent. */
export async function endAgent(agent: RunningAgent): Promise<void> {
  agent.client.close();
  await endProcess(agent.process);
}

/** Does the same for each side, one after the other. */
export async function forEachSide<Value>(
  action: (side: Side) => Promise<Value>,
): Promise<Pair<Value>> {
  return { cardagent: await action("cardagent"), system: await action("system") };
}
