/** The time that whole programs take. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { childrenOf } from "../fixtures/processes.ts";
import { frameRequest } from "../protocol/requests.ts";
import { type Pair, pidOf, programs, type RunningAgent, type Side } from "./agents.ts";
import type { Token } from "./keys.ts";
import { median } from "./statistics.ts";
import type { Workspace } from "./workspace.ts";

/** One line of the table: medians, in milliseconds. */
export interface ProcessResult {
  readonly name: string;
  readonly figures: Pair<number>;
  /** The time of `node -e 0`. */
  readonly bareNode: number;
  /** The limit for cardagent, if there is one. */
  readonly budget?: number;
}

const contestants = ["cardagent", "system", "bareNode"] as const;

/** Runs of a short program in one measurement. */
const repetitions = 5;

/** Measures `ssh-add -l`, with the agent of the same side. */
export function measureList(
  workspace: Workspace,
  agents: Pair<RunningAgent>,
  runs: number,
): Promise<ProcessResult> {
  return measureShort("ssh-add -l", workspace, runs, (side) => ({
    command: programs[side].add,
    socket: agents[side].socket,
  }));
}

/** Measures the system's `ssh-add -l` with an agent through this project's, and by itself. */
export function measureUpstreamList(
  workspace: Workspace,
  agents: Pair<RunningAgent>,
  runs: number,
): Promise<ProcessResult> {
  const name = "the system's ssh-add -l through an upstream";
  return measureShort(name, workspace, runs, (side) => ({
    command: programs.system.add,
    socket: agents[side].socket,
  }));
}

/**
 * Measures a command with `-l`. A shell runs it several times: to start a process takes Node.js as long
 * as some of these run.
 */
function measureShort(
  name: string,
  workspace: Workspace,
  runs: number,
  contestant: (side: Side) => { readonly command: string; readonly socket: string },
): Promise<ProcessResult> {
  const repeat = (command: string, args: readonly string[], env: Record<string, string>) => {
    const turns = Array.from({ length: repetitions }, (_, turn) => turn).join(" ");
    const script = `for turn in ${turns}; do "$@" >/dev/null || exit; done`;
    return run("sh", ["-c", script, "sh", command, ...args], env).elapsed / repetitions;
  };
  const list = async (side: Side) => {
    const { command, socket } = contestant(side);
    return repeat(command, ["-l"], { ...workspace.env, SSH_AUTH_SOCK: socket });
  };
  return measure(name, workspace, runs, list, () => repeat("node", ["-e", "0"], workspace.env));
}

/** Circumstances of an `ssh-add -s`. */
export interface LoadScenario {
  readonly name: string;
  /** The seconds that the user takes to type the PIN, which are subtracted from the result. */
  readonly typing: number;
  /** Whether the agent has been idle for so long that it has stopped its spare process. */
  readonly isIdle: boolean;
}

/** The milliseconds that the agent gets to start a spare process, or to notice the end of one. */
const settlingTime = 60;

/**
 * Measures `ssh-add -s`, with the agent of the same side. Its budget, for the programs of a release, is
 * the system's time and a start of Node.js.
 */
export async function measureCardLoad(
  workspace: Workspace,
  agents: Pair<RunningAgent>,
  { library, pin }: Token,
  runs: number,
  { name, typing, isIdle }: LoadScenario,
): Promise<ProcessResult> {
  const askpass = join(workspace.folder, `askpass-${typing}`);
  writeFileSync(askpass, `#!/bin/sh\nsleep ${typing}\necho ${pin}\n`, { mode: 0o700 });
  const asking = { ...workspace.env, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force" };
  const result = await measure(name, workspace, runs, async (side) => {
    await sleep(settlingTime);
    if (isIdle && side === "cardagent") await endSpare(agents[side]);
    const env = { ...asking, SSH_AUTH_SOCK: agents[side].socket };
    const { elapsed } = run(programs[side].add, ["-s", library], env);
    run(programs[side].add, ["-e", library], env);
    return elapsed - typing * 1000;
  });
  return { ...result, budget: result.figures.system + result.bareNode };
}

/** Stops the agent's spare process, as the agent does when it is idle. */
async function endSpare(agent: RunningAgent): Promise<void> {
  for (const pid of childrenOf(pidOf(agent))) process.kill(pid, "SIGKILL");
  await sleep(settlingTime);
}

/** Measures `ssh-agent` until it has printed the commands for the shell. */
export function measureStart(workspace: Workspace, runs: number): Promise<ProcessResult> {
  return measure("ssh-agent", workspace, runs, async (side) => {
    const { elapsed, stdout } = run(programs[side].agent, ["-s"], workspace.env);
    process.kill(parseStart(stdout).pid, "SIGTERM");
    return elapsed;
  });
}

/** Measures `ssh-agent` until it has answered its first request. */
export function measureFirstAnswer(workspace: Workspace, runs: number): Promise<ProcessResult> {
  return measure("ssh-agent, to its first answer", workspace, runs, async (side) => {
    const start = performance.now();
    const { stdout } = run(programs[side].agent, ["-s"], workspace.env);
    const { pid, socket } = parseStart(stdout);
    await askForIdentities(socket);
    const elapsed = performance.now() - start;
    process.kill(pid, "SIGTERM");
    return elapsed;
  });
}

/** Runs all contestants in turn, `runs` times, each time beginning with the next one. */
async function measure(
  name: string,
  workspace: Workspace,
  runs: number,
  time: (side: Side) => Promise<number>,
  timeBare = () => run("node", ["-e", "0"], workspace.env).elapsed,
): Promise<ProcessResult> {
  const times: Record<(typeof contestants)[number], number[]> = {
    cardagent: [],
    system: [],
    bareNode: [],
  };
  for (let turn = 0; turn < runs; turn++) {
    const first = turn % contestants.length;
    for (const who of [...contestants.slice(first), ...contestants.slice(0, first)]) {
      times[who].push(who === "bareNode" ? timeBare() : await time(who));
    }
  }
  const figures = { cardagent: median(times.cardagent), system: median(times.system) };
  return { name, figures, bareNode: median(times.bareNode) };
}

/** Runs a program. @throws {Error} if it fails */
function run(
  command: string,
  args: string[],
  env: Record<string, string>,
): { readonly elapsed: number; readonly stdout: string } {
  const start = performance.now();
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    env,
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
  });
  const elapsed = performance.now() - start;
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}: ${stderr}`);
  return { elapsed, stdout };
}

function parseStart(stdout: string): { readonly pid: number; readonly socket: string } {
  const [, socket] = /SSH_AUTH_SOCK=([^;]+);/.exec(stdout) ?? [];
  const [, pid] = /SSH_AGENT_PID=(\d+);/.exec(stdout) ?? [];
  if (socket === undefined || pid === undefined) throw new Error(`No agent: ${stdout}`);
  return { pid: Number(pid), socket };
}

function askForIdentities(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.once("error", reject);
    socket.once("data", () => {
      socket.destroy();
      resolve();
    });
    socket.write(frameRequest({ type: "request-identities" }));
  });
}
