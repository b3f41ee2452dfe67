/**
 * Asks the user whether a key may be used, by an askpass program, as OpenSSH's agent does:
 * SSH_ASKPASS is run with SSH_ASKPASS_PROMPT=confirm; exit status 0 and no word, or the word "yes",
 * mean yes.
 */
import { readFile } from "node:fs/promises";
import { askpassProgram, mayRunAskpass } from "../../openssh/askpass.ts";
import { sanitizeName } from "../../openssh/text-for-display.ts";
import { Failure } from "../../protocol/failure.ts";
import { decodeText } from "../../protocol/text.ts";
import { runPrompt } from "./prompt-program.ts";

/**
 * Asks a question; resolves with whether the answer is yes.
 * @param taken aborted when the question is to be taken back
 */
export type Ask = (question: string, taken: AbortSignal) => Promise<boolean>;

/**
 * Makes an `Ask` that runs an askpass program.
 * @param environment the agent's: SSH_ASKPASS, SSH_ASKPASS_REQUIRE, DISPLAY, WAYLAND_DISPLAY
 */
export function askpass(environment: NodeJS.ProcessEnv): Ask {
  return (question, taken) => {
    if (!mayRunAskpass(environment)) {
      throw new Failure(
        "user-refused",
        "The use of this key has to be confirmed, and there is no display to ask on.",
        "Start ssh-agent with SSH_ASKPASS and DISPLAY set, or with SSH_ASKPASS_REQUIRE=force.",
      );
    }
    return confirm({ ...environment, SSH_ASKPASS_PROMPT: "confirm" }, question, taken);
  };
}

async function confirm(
  environment: NodeJS.ProcessEnv,
  question: string,
  taken: AbortSignal,
): Promise<boolean> {
  const program = askpassProgram(environment);
  const result = await runPrompt(program, question, environment, true, taken);
  if (taken.aborted) return false;
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
 * The question for a key, in OpenSSH's words, with what is known of who asks.
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

/** The name that a process gives itself and its number, as far as the system tells it. */
export async function describeProcess(pid: number): Promise<string> {
  try {
    const name = decodeText(await readFile(`/proc/${pid}/comm`)).replace(/\n$/, "");
    return `${sanitizeName(name)} (pid ${pid})`;
  } catch {
    return `pid ${pid}`;
  }
}
