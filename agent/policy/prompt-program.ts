/** Runs programs that show a prompt: SSH_ASKPASS or SSH_NOTIFY. */
import { type ChildProcess, spawn } from "node:child_process";

/** The result of a program that has exited. */
interface PromptResult {
  readonly status: number | null;
  /** Its standard output, which the caller overwrites. */
  readonly output: Buffer;
}

const maxOutputLength = 1024;

/** Milliseconds between SIGTERM and SIGKILL. */
const killDelay = 1000;

/** The running programs; they end with the agent. */
const running = new Set<ChildProcess>();

function endAll(): void {
  for (const child of running) killGroup(child, "SIGTERM");
}

/**
 * Runs a program with a text as its argument, until it exits or the signal is aborted. Signals go to
 * its process group: many askpass programs are scripts around the program that shows the window.
 * @param reads whether to read its standard output
 * @returns undefined if it cannot be run, or the signal was aborted
 */
export function runPrompt(
  program: string,
  text: string,
  environment: NodeJS.ProcessEnv,
  reads: boolean,
  signal: AbortSignal,
): Promise<PromptResult | undefined> {
  const child = start(program, text, environment, reads);
  if (child === undefined) return Promise.resolve(undefined);
  const output = collect(child);
  let killTimer: NodeJS.Timeout | undefined;
  const cancel = () => {
    killGroup(child, "SIGTERM");
    child.stdout?.destroy(); // don't wait for other processes that hold the pipe open
    killTimer = setTimeout(() => killGroup(child, "SIGKILL"), killDelay);
  };
  if (signal.aborted) cancel();
  else signal.addEventListener("abort", cancel);
  return new Promise((resolve) => {
    const settle = (result: PromptResult | undefined) => {
      running.delete(child);
      if (running.size === 0) process.off("exit", endAll);
      signal.removeEventListener("abort", cancel);
      clearTimeout(killTimer);
      if (result === undefined) output().fill(0);
      resolve(result);
    };
    child.on("error", () => settle(undefined));
    child.on("close", (status) => {
      settle(signal.aborted ? undefined : { status, output: output() });
    });
  });
}

function start(
  program: string,
  text: string,
  env: NodeJS.ProcessEnv,
  reads: boolean,
): ChildProcess | undefined {
  try {
    const stdout = reads ? "pipe" : "ignore";
    const child = spawn(program, [text], {
      detached: true,
      env,
      stdio: ["ignore", stdout, "ignore"],
    });
    if (running.size === 0) process.once("exit", endAll);
    running.add(child);
    return child;
  } catch {
    return undefined; // for example, if the text is too long for an argument
  }
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

/** Collects a program's output in one buffer, which can be overwritten. */
function collect(child: ChildProcess): () => Buffer {
  const output = Buffer.alloc(maxOutputLength);
  let length = 0;
  child.stdout?.on("data", (chunk: Buffer) => {
    length += chunk.copy(output, length);
    chunk.fill(0);
  });
  return () => output.subarray(0, length);
}
