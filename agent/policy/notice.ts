/**
 * What is said to, and asked of, whoever sits before a FIDO authenticator, by an askpass program as
 * in OpenSSH.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { askpassProgram, mayAsk } from "./confirm.ts";

const longestPin = 1024;

/**
 * Makes a function that shows a notice: SSH_ASKPASS runs with SSH_ASKPASS_PROMPT=none until the
 * function that is returned is called. Without a display nothing is shown.
 */
export function askpassNotice(environment: NodeJS.ProcessEnv): (text: string) => () => void {
  return (text) => {
    if (!mayAsk(environment)) return () => {};
    const child = spawn(askpassProgram(environment), [text], {
      env: { ...environment, SSH_ASKPASS_PROMPT: "none" },
      stdio: "ignore",
    });
    child.on("error", () => {}); // no notice, then; the authenticator blinks all the same
    return () => child.kill();
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
      resolve(succeeded && line.length > 0 ? line : undefined);
    };
    child.on("error", () => done(false));
    child.on("close", (status) => done(status === 0));
  });
}
