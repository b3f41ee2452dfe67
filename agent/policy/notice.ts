/**
 * What is said to, and asked of, whoever sits before a card or a FIDO authenticator, by an askpass
 * program as in OpenSSH, or by a program of their own choice.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { askpassProgram, mayAsk } from "./confirm.ts";

const longestPin = 1024;

/** The person who sits before the machine. */
export interface Person {
  /** Shows a notice, where there is a way to; the function that it returns takes it away. */
  readonly notify: (text: string) => () => void;
  /** Asks for a PIN; undefined where nobody can be asked. The PIN is the caller's to overwrite. */
  readonly askPin: (question: string) => Promise<Buffer | undefined>;
}

/** The person whose display an environment names. */
export function personOf(environment: NodeJS.ProcessEnv): Person {
  return { notify: notifier(environment), askPin: askpassPin(environment) };
}

/**
 * Makes a function that shows a notice: SSH_NOTIFY, or SSH_ASKPASS with SSH_ASKPASS_PROMPT=none,
 * runs until the function that is returned is called. Without either nothing is shown.
 */
export function notifier(environment: NodeJS.ProcessEnv): (text: string) => () => void {
  const { SSH_NOTIFY: program } = environment;
  if (program) return (text) => show(program, text, environment);
  return (text) => {
    if (!mayAsk(environment)) return () => {};
    return show(askpassProgram(environment), text, { ...environment, SSH_ASKPASS_PROMPT: "none" });
  };
}

function show(program: string, text: string, env: NodeJS.ProcessEnv): () => void {
  let child: ChildProcess;
  try {
    child = spawn(program, [text], { env, stdio: "ignore" });
  } catch {
    return () => {}; // no notice, then; the card blinks all the same
  }
  child.on("error", () => {}); // nor here
  return () => {
    // Without a number, the signal would go to the agent's own process group.
    if (child.pid !== undefined) child.kill();
  };
}

/**
 * Makes a function that asks for a PIN by SSH_ASKPASS. It resolves with undefined when there is no
 * display, or no answer.
 */
export function askpassPin(
  environment: NodeJS.ProcessEnv,
): (question: string) => Promise<Buffer | undefined> {
  return async (question) => {
    if (!mayAsk(environment)) return undefined;
    const { SSH_ASKPASS_PROMPT: _, ...env } = environment;
    const stdio = ["ignore", "pipe", "ignore"] as const;
    return firstLine(spawn(askpassProgram(environment), [question], { env, stdio: [...stdio] }));
  };
}

/** The first line of what a program writes; undefined when it fails or says nothing. */
function firstLine(child: ChildProcess): Promise<Buffer | undefined> {
  const answer = Buffer.alloc(longestPin);
  let length = 0;
  child.stdout?.on("data", (chunk: Buffer) => {
    length += chunk.copy(answer, length);
    chunk.fill(0);
  });
  return new Promise((resolve) => {
    const done = (succeeded: boolean) => {
      const text = answer.subarray(0, length);
      const end = text.findIndex((byte) => byte === 10 || byte === 13);
      const line = Buffer.from(end < 0 ? text : text.subarray(0, end));
      answer.fill(0);
      const isAnswer = succeeded && line.length > 0;
      if (!isAnswer) line.fill(0);
      resolve(isAnswer ? line : undefined);
    };
    child.on("error", () => done(false));
    child.on("close", (status) => done(status === 0));
  });
}
