/** The compared agents: this project's and the system's. */
import type { ChildProcess } from "node:child_process";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { sshAdd, sshAgent } from "../fixtures/programs.ts";
import { AgentClient } from "../protocol/client.ts";
import { endProcess, type Workspace } from "./workspace.ts";

/** The two sides of each comparison, in the order of the tables. */
export const sides = ["cardagent", "system"] as const;
export type Side = (typeof sides)[number];

/** One value for each side. */
export type Pair<Value> = Readonly<Record<Side, Value>>;

/** The programs of each side. */
export const programs: Pair<{ readonly add: string; readonly agent: string }> = {
  cardagent: { add: sshAdd, agent: sshAgent },
  system: { add: "/usr/bin/ssh-add", agent: "/usr/bin/ssh-agent" },
};

/** A running agent and a client of it. */
export interface RunningAgent {
  readonly side: Side;
  readonly socket: string;
  readonly client: AgentClient;
  readonly process: ChildProcess;
}

/** The process ID of an agent. */
export function pidOf({ process: { pid }, side }: RunningAgent): number {
  if (pid === undefined) throw new Error(`The ${side} agent does not run.`);
  return pid;
}

let started = 0;

/**
 * Starts an agent that allows all providers, and connects to it.
 * @param more further options
 */
export async function startAgent(
  workspace: Workspace,
  side: Side,
  more: readonly string[] = [],
): Promise<RunningAgent> {
  const socket = newSocket(workspace);
  const args = ["-D", "-P", "*", "-a", socket, ...more];
  return serving(side, socket, workspace.start(programs[side].agent, args));
}

/** Starts a program that copies bytes to and from an agent, as bundled from relay.ts. */
export function startRelay(
  workspace: Workspace,
  program: string,
  agent: RunningAgent,
): Promise<RunningAgent> {
  const socket = newSocket(workspace);
  const child = workspace.start(process.execPath, [program, socket, agent.socket]);
  return serving("cardagent", socket, child);
}

function newSocket(workspace: Workspace): string {
  return join(workspace.folder, `agent-${++started}`);
}

async function serving(side: Side, socket: string, child: ChildProcess): Promise<RunningAgent> {
  const client = await connect(socket, () => {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} did not start.`);
  });
  return { side, socket, client, process: child };
}

/** Tries to connect until the agent listens. */
async function connect(socket: string, check: () => void): Promise<AgentClient> {
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

/** Calls `action` for each side in turn. */
export async function forEachSide<Value>(
  action: (side: Side) => Promise<Value>,
): Promise<Pair<Value>> {
  return { cardagent: await action("cardagent"), system: await action("system") };
}
