/** Whole programs: how long they take from their start to their end. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { childrenOf } from "../fixtures/processes.ts";
import { frame } from "../protocol/framing.ts";
import { encodeRequest } from "../protocol/requests.ts";
import { type Pair, pidOf, programs, type RunningAgent, type Side } from "./agents.ts";
import type { Token } from "./keys.ts";
import type { Place } from "./place.ts";
import { median } from "./statistics.ts";

/** One line of the table: medians, in milliseconds. */
export interface ProcessResult {
  readonly name: string;
  readonly figures: Pair<number>;
  /** What Node.js needs to start and do nothing: `node -e 0`. */
  readonly bareNode: number;
  /** What cardagent should not exceed; undefined where nothing is set. */
  readonly budget?: number;
}

type Contestant = Side | "bareNode";
const contestants: readonly Contestant[] = ["cardagent", "system", "bareNode"];

/** `ssh-add -l`, each with the agent of its own side. */
export function measureList(
  place: Place,
  agents: Pair<RunningAgent>,
  runs: number,
): Promise<ProcessResult> {
  const list = async (side: Side) => {
    const env = { ...place.env, SSH_AUTH_SOCK: agents[side].socket };
    const { elapsed } = run(programs[side].add, ["-l"], env);
    return elapsed;
  };
  return measure("ssh-add -l", place, runs, list);
}

/** How `ssh-add -s` comes by the PIN, and what the agent did before. */
export interface LoadScenario {
  readonly name: string;
  /** Seconds that somebody takes to type the PIN, which are taken off again. */
  readonly typing: number;
  /** Whether the agent has been idle for so long that it keeps no process ready for a library. */
  readonly isIdle: boolean;
}

/** Milliseconds in which the agent makes a process ready, and sees one end. */
const settling = 60;

/**
 * `ssh-add -s`, each with the agent of its own side, which has not loaded the token. It should take
 * as long as the system's and two starts of Node.js: that of `ssh-add`, and that of the process
 * which loads the library.
 */
export async function measureCardLoad(
  place: Place,
  agents: Pair<RunningAgent>,
  { library, pin }: Token,
  runs: number,
  { name, typing, isIdle }: LoadScenario,
): Promise<ProcessResult> {
  const askpass = join(place.folder, `askpass-${typing}`);
  writeFileSync(askpass, `#!/bin/sh\nsleep ${typing}\necho ${pin}\n`, { mode: 0o700 });
  const asking = { ...place.env, SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force" };
  const result = await measure(name, place, runs, async (side) => {
    await sleep(settling);
    if (isIdle && side === "cardagent") await endSpare(agents[side]);
    const env = { ...asking, SSH_AUTH_SOCK: agents[side].socket };
    const { elapsed } = run(programs[side].add, ["-s", library], env);
    run(programs[side].add, ["-e", library], env);
    return elapsed - typing * 1000;
  });
  return { ...result, budget: result.figures.system + 2 * result.bareNode };
}

/** Ends the process that an agent keeps ready, as the agent itself does when it is idle. */
async function endSpare(agent: RunningAgent): Promise<void> {
  for (const pid of childrenOf(pidOf(agent))) process.kill(pid, "SIGKILL");
  await sleep(settling);
}

/** `ssh-agent`, until it has printed what a shell evaluates. */
export function measureStart(place: Place, runs: number): Promise<ProcessResult> {
  return measure("ssh-agent", place, runs, async (side) => {
    const { elapsed, stdout } = run(programs[side].agent, ["-s"], place.env);
    process.kill(parseStart(stdout).pid, "SIGTERM");
    return elapsed;
  });
}

/** `ssh-agent`, until it has answered its first request. */
export function measureFirstAnswer(place: Place, runs: number): Promise<ProcessResult> {
  return measure("ssh-agent, to its first answer", place, runs, async (side) => {
    const begun = performance.now();
    const { stdout } = run(programs[side].agent, ["-s"], place.env);
    const { pid, socket } = parseStart(stdout);
    await askForIdentities(socket);
    const elapsed = performance.now() - begun;
    process.kill(pid, "SIGTERM");
    return elapsed;
  });
}

/** Lets all take turns `runs` times, and who begins changes from turn to turn. */
async function measure(
  name: string,
  place: Place,
  runs: number,
  time: (side: Side) => Promise<number>,
): Promise<ProcessResult> {
  const times: Record<Contestant, number[]> = { cardagent: [], system: [], bareNode: [] };
  for (let turn = 0; turn < runs; turn++) {
    const first = turn % contestants.length;
    for (const who of [...contestants.slice(first), ...contestants.slice(0, first)]) {
      const isBare = who === "bareNode";
      times[who].push(isBare ? run("node", ["-e", "0"], place.env).elapsed : await time(who));
    }
  }
  const figures = { cardagent: median(times.cardagent), system: median(times.system) };
  return { name, figures, bareNode: median(times.bareNode) };
}

/** Runs a program to its end. @throws {Error} when it fails */
function run(
  command: string,
  args: string[],
  env: Record<string, string>,
): { readonly elapsed: number; readonly stdout: string } {
  const begun = performance.now();
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    env,
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
  });
  const elapsed = performance.now() - begun;
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
    socket.write(frame(encodeRequest({ type: "request-identities" })));
  });
}
