/**
 * Asks the user to confirm the use of a key by an askpass program, as OpenSSH's agent does: SSH_ASKPASS
 * is run with SSH_ASKPASS_PROMPT=confirm; exit status 0 with no output, or with "yes", means yes.
 */
import { readFile } from "node:fs/promises";
import { askpassProgram, mayRunAskpass } from "../../openssh/askpass.ts";
import { sanitizeName } from "../../openssh/text-for-display.ts";
import { Failure } from "../../protocol/failure.ts";
import { decodeText } from "../../protocol/text.ts";
import { runPrompt } from "./prompt-program.ts";

/** Asks a question; resolves with whether the answer is yes. Aborting the signal closes the prompt. */
export type Ask = (question: string, signal: AbortSignal) => Promise<boolean>;

/** Makes an `Ask` that runs the askpass program of an environment. */
export function askpass(environment: NodeJS.ProcessEnv): Ask {
  return (question, signal) => {
    if (!mayRunAskpass(environment)) {
      throw new Failure(
        "user-refused",
        "The use of this key has to be confirmed, and there is no display to ask on.",
        "Start ssh-agent with SSH_ASKPASS and DISPLAY set, or with SSH_ASKPASS_REQUIRE=force.",
      );
    }
    return confirm({ ...environment, SSH_ASKPASS_PROMPT: "confirm" }, question, signal);
  };
}

async function confirm(
  environment: NodeJS.ProcessEnv,
  question: string,
  signal: AbortSignal,
): Promise<boolean> {
  const program = askpassProgram(environment);
  const result = await runPrompt(program, question, environment, true, signal);
  if (signal.aborted) return false;
  if (result === undefined) {
    const sentence = `The askpass program ${program} cannot be run.`;
    throw new Failure("user-refused", sentence, "Set SSH_ASKPASS to a program that asks.");
  }
  const [word = ""] = result.output
    .toString("utf8")
    .toLowerCase()
    .split(/[\r\n]/);
  return result.status === 0 && (word === "" || word === "yes");
}

/**
 * OpenSSH's question for a key, with the destination and the requesting process, if known.
 * @param requester such as `git (pid 4711)`
 */
export function confirmQuestion(
  comment: string,
  fingerprint: string,
  destination: string | undefined,
  requester: string | undefined,
): string {
  const lines = [`Allow use of key ${comment}?`, `Key fingerprint ${fingerprint}.`];
  if (destination !== undefined) lines.push(destination);
  if (requester !== undefined) lines.push(`Requested by ${requester}.`);
  return lines.join("\n");
}

/** The name and number of a process. The process chooses its own name. */
export async function describeProcess(pid: number): Promise<string> {
  try {
    const name = decodeText(await readFile(`/proc/${pid}/comm`)).replace(/\n$/, "");
    return `${sanitizeName(name)} (pid ${pid})`;
  } catch {
    return `pid ${pid}`;
  }
}
