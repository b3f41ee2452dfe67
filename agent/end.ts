/** `ssh-agent -k`: ends the agent of SSH_AGENT_PID. */
import { readFileSync } from "node:fs";
import { detectShell, type Shell, unsetVariable } from "./host/environment.ts";
import { servingPrefix } from "./options.ts";

/** The largest process number. */
const largestPid = 2 ** 31 - 1;

/**
 * Ends the agent that an environment names.
 * @returns what the shell is to evaluate
 * @throws an Error that says why it cannot, in OpenSSH's words
 */
export function endAgent(environment: NodeJS.ProcessEnv, givenShell: Shell | undefined): string {
  const text = environment.SSH_AGENT_PID;
  if (text === undefined) throw new Error("SSH_AGENT_PID not set, cannot kill agent");
  const flaw = flawOf(text);
  if (flaw !== undefined) {
    throw new Error(`SSH_AGENT_PID="${text}", which is not a good PID: ${flaw}`);
  }
  const pid = Number(text);
  waitUntilStarted(pid);
  terminate(pid);
  const shell = givenShell ?? detectShell(environment);
  const unset = unsetVariable(shell, "SSH_AUTH_SOCK") + unsetVariable(shell, "SSH_AGENT_PID");
  return `${unset}echo Agent pid ${pid} killed;\n`;
}

/** What strtonum(3) calls a number that is none between 2 and the largest; undefined for a good one. */
function flawOf(text: string): string | undefined {
  if (!/^[ \t\n\v\f\r]*[+-]?\d+$/.test(text)) return "invalid";
  const pid = Number(text);
  if (pid < 2) return "too small";
  return pid > largestPid ? "too large" : undefined;
}

/** Milliseconds that an agent may take to start, and between two looks at it. */
const startLimit = 2000;
const startInterval = 10;

/**
 * An agent that is ended before it has set its handlers leaves its socket behind. Until then its
 * command line is the one that it was started with; see start.ts. Only Linux tells it.
 */
function waitUntilStarted(pid: number): void {
  const cell = new Int32Array(new SharedArrayBuffer(4));
  for (let waited = 0; isStarting(pid) && waited < startLimit; waited += startInterval) {
    Atomics.wait(cell, 0, 0, startInterval);
  }
}

function isStarting(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "latin1").includes(`\0${servingPrefix}`);
  } catch {
    return false;
  }
}

function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    const isGone = error instanceof Error && "code" in error && error.code === "ESRCH";
    throw new Error(`kill: ${isGone ? "No such process" : "Operation not permitted"}`);
  }
}
