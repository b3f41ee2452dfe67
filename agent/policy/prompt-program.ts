/** Runs programs that show a prompt: SSH_ASKPASS or SSH_NOTIFY. */
import { spawn } from "node:child_process";
import { type SecretProgram, spawnForSecret } from "../../openssh/secret-input.ts";
import { endGroupWith } from "../host/program-group.ts";

/** The result of a program that has exited. */
interface PromptResult {
  readonly status: number | null;
  /** Its standard output, which the caller overwrites. */
  readonly output: Buffer;
}

const maxOutputLength = 1024;

/**
 * Runs a program with a text as its argument, until it exits or the signal is aborted, which ends its
 * process group.
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
  const exited = endGroupWith(child, signal);
  const stopReading = () => output?.destroy(); // don't wait for other processes that hold the pipe open
  if (signal.aborted) stopReading();
  else signal.addEventListener("abort", stopReading);
  return new Promise((resolve) => {
    const settle = (result: PromptResult | undefined) => {
      exited();
      signal.removeEventListener("abort", stopReading);
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
    return reads
      ? spawnForSecret(program, [text], { others: "ignore", ...options }, receive)
      : { child: spawn(program, [text], { stdio: "ignore", ...options }), output: null };
  } catch {
    return undefined; // for example, if the text is too long for an argument
  }
}
