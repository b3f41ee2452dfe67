/** `ssh-agent -k`: ends the agent of SSH_AGENT_PID. */
import { detectShell, type Shell, unsetVariable } from "./host/environment.ts";

/** The largest process number. */
const largestPid = 2 ** 31 - 1;

/**
 * Ends the agent that an environment names.
 * @returns what the shell is to evaluate
 * @throws an Error that says why it cannot, in OpenSSH's words
 */
export function killAgent(environment: NodeJS.ProcessEnv, givenShell: Shell | undefined): string {
  const text = environment.SSH_AGENT_PID;
  if (text === undefined) throw new Error("SSH_AGENT_PID not set, cannot kill agent");
  const flaw = flawOf(text);
  if (flaw !== undefined) {
    throw new Error(`SSH_AGENT_PID="${text}", which is not a good PID: ${flaw}`);
  }
  const pid = Number(text);
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

function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    const isGone = error instanceof Error && "code" in error && error.code === "ESRCH";
    throw new Error(`kill: ${isGone ? "No such process" : "Operation not permitted"}`);
  }
}
