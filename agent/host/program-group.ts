/**
 * Programs that the agent runs for the user: askpass, renewal. Each leads a process group, because many
 * are scripts around another program; the group ends with the agent.
 */
import type { ChildProcess } from "node:child_process";

/** Milliseconds between SIGTERM and SIGKILL. */
const killDelay = 1000;

const running = new Set<ChildProcess>();

function endAll(): void {
  for (const child of running) killGroup(child, "SIGTERM");
}

/**
 * Ends a program's group with the agent, and when the signal is aborted: by SIGTERM and, a second later, by
 * SIGKILL.
 * @param child started with `detached`
 * @returns a function to call when it has exited
 */
export function endGroupWith(child: ChildProcess, signal: AbortSignal): () => void {
  if (running.size === 0) process.once("exit", endAll);
  running.add(child);
  let killTimer: NodeJS.Timeout | undefined;
  const end = () => {
    killGroup(child, "SIGTERM");
    killTimer = setTimeout(() => killGroup(child, "SIGKILL"), killDelay);
  };
  if (signal.aborted) end();
  else signal.addEventListener("abort", end);
  return () => {
    running.delete(child);
    if (running.size === 0) process.off("exit", endAll);
    signal.removeEventListener("abort", end);
    clearTimeout(killTimer);
  };
}

/** Sends a signal to a running program's process group. */
function killGroup(child: ChildProcess, name: NodeJS.Signals): void {
  const hasEnded = child.exitCode !== null || child.signalCode !== null;
  if (child.pid === undefined || hasEnded) return;
  try {
    process.kill(-child.pid, name);
  } catch {
    // it has just ended
  }
}
