/** `ssh-agent -k`: ends the agent of SSH_AGENT_PID. */
import { detectShell, type Shell, unsetVariable } from "./host/environment.ts";

const maxPid = 2 ** 31 - 1;

/**
 * Terminates the agent of SSH_AGENT_PID.
 * @returns the commands for the shell to evaluate
 * @throws an Error with OpenSSH's message
 */
export function killAgent(environment: NodeJS.ProcessEnv, givenShell: Shell | undefined): string {
  const text = environment.SSH_AGENT_PID;
  if (text === undefined) throw new Error("SSH_AGENT_PID not set, cannot kill agent");
  const problem = pidError(text);
  if (problem !== undefined) {
    throw new Error(`SSH_AGENT_PID="${text}", which is not a good PID: ${problem}`);
  }
  const pid = Number(text);
  terminate(pid);
  const shell = givenShell ?? detectShell(environment);
  const unset = unsetVariable(shell, "SSH_AUTH_SOCK") + unsetVariable(shell, "SSH_AGENT_PID");
  return `${unset}echo Agent pid ${pid} killed;\n`;
}

/** The error of strtonum(3) for a number from 2 to `maxPid`; undefined if it is valid. */
function pidError(text: string): string | undefined {
  if (!/^[ \t\n\v\f\r]*[+-]?\d+$/.test(text)) return "invalid";
  const pid = Number(text);
  if (pid < 2) return "too small";
  return pid > maxPid ? "too large" : undefined;
}

function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    const isGone = error instanceof Error && "code" in error && error.code === "ESRCH";
    throw new Error(`kill: ${isGone ? "No such process" : "Operation not permitted"}`);
  }
}
