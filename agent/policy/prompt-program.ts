/** Programs that show a prompt: askpass, or one of the user's own choice. */
import { type ChildProcess, spawn } from "node:child_process";

/** How a program ended by itself, and what it wrote to its standard output. */
export interface PromptResult {
  readonly status: number | null;
  /** The caller's to overwrite. */
  readonly output: Buffer;
}

const maxOutputLength = 1024;

/** Milliseconds that a program may take to end once it was told to. */
const patience = 1000;

/** The programs that are shown; they end with the agent. */
const shown = new Set<ChildProcess>();

function endShown(): void {
  for (const child of shown) signal(child, "SIGTERM");
}

/**
 * Runs a program with a text as its argument, until it ends by itself or is taken back. It leads a
 * process group, which is ended whole: many askpass programs are scripts around the one that is seen.
 * @param reads whether what it writes is read
 * @returns undefined when it could not be run, or was taken back
 */
export function runPrompt(
  program: string,
  text: string,
  environment: NodeJS.ProcessEnv,
  reads: boolean,
  taken: AbortSignal,
): Promise<PromptResult | undefined> {
  const child = start(program, text, environment, reads);
  if (child === undefined) return Promise.resolve(undefined);
  const output = collect(child);
  let patienceTimer: NodeJS.Timeout | undefined;
  const takeBack = () => {
    signal(child, "SIGTERM");
    child.stdout?.destroy(); // others that hold it open are not waited for
    patienceTimer = setTimeout(() => signal(child, "SIGKILL"), patience);
  };
  if (taken.aborted) takeBack();
  else taken.addEventListener("abort", takeBack);
  return new Promise((resolve) => {
    const settle = (result: PromptResult | undefined) => {
      shown.delete(child);
      if (shown.size === 0) process.off("exit", endShown);
      taken.removeEventListener("abort", takeBack);
      clearTimeout(patienceTimer);
      if (result === undefined) output().fill(0);
      resolve(result);
    };
    child.on("error", () => settle(undefined));
    child.on("close", (status) => {
      settle(taken.aborted ? undefined : { status, output: output() });
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
    if (shown.size === 0) process.once("exit", endShown);
    shown.add(child);
    return child;
  } catch {
    return undefined; // such as a text that is too long for an argument
  }
}

/** Signals the group that a program leads, which is there as long as the program is. */
function signal(child: ChildProcess, name: NodeJS.Signals): void {
  const hasEnded = child.exitCode !== null || child.signalCode !== null;
  if (child.pid === undefined || hasEnded) return;
  try {
    process.kill(-child.pid, name);
  } catch {
    // it has just ended
  }
}

/** Keeps what a program writes, in a place that can be overwritten. */
function collect(child: ChildProcess): () => Buffer {
  const output = Buffer.alloc(maxOutputLength);
  let length = 0;
  child.stdout?.on("data", (chunk: Buffer) => {
    length += chunk.copy(output, length);
    chunk.fill(0);
  });
  return () => output.subarray(0, length);
}
