/** Runs programs that show a prompt: SSH_ASKPASS or SSH_NOTIFY. */
import { type ChildProcess, spawn } from "node:child_process";
import { type SecretProgram, spawnForSecret } from "../../openssh/secret-input.ts";

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
  const answer = Buffer.alloc(maxOutputLength);
  let length = 0;
  const started = start(program, text, environment, reads, (chunk) => {
    length += chunk.copy(answer, length);
  });
  if (started === undefined) return Promise.resolve(undefined);
  const { child, output } = started;
  let killTimer: NodeJS.Timeout | undefined;
  const cancel = () => {
    killGroup(child, "SIGTERM");
    output?.destroy(); // don't wait for other processes that hold the pipe open
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
      if (result === undefined) answer.fill(0);
      resolve(result);
    };
    child.on("error", () => settle(undefined));
    child.on("close", (status) => {
      const finish = () =>
        settle(signal.aborted ? undefined : { status, output: answer.subarray(0, length) });
      if (output === null || output.closed) finish();
      else output.once("close", finish);
    });
  });
}

function start(
  program: string,
  text: string,
  env: NodeJS.ProcessEnv,
  reads: boolean,
  receive: (chunk: Buffer) => void,
): SecretProgram | undefined {
  const options = { detached: true, env } as const;
  try {
    const started = reads
      ? spawnForSecret(program, [text], { others: "ignore", ...options }, receive)
      : { child: spawn(program, [text], { stdio: "ignore", ...options }), output: null };
    if (running.size === 0) process.once("exit", endAll);
    running.add(started.child);
    return started;
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
