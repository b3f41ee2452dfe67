/**
 * Prompts for the user: whether a key may be used, which PIN, what is to be touched. As in OpenSSH's
 * agent, SSH_ASKPASS is run for them; notices are shown by SSH_NOTIFY where that is set, and on the
 * terminal where there is no display.
 */
import { readFile } from "node:fs/promises";
import { askpassProgram, endsAnswer, mayRunAskpass } from "../../openssh/askpass.ts";
import { sanitizeName } from "../../openssh/text-for-display.ts";
import { Failure } from "../../protocol/failure.ts";
import { decodeText } from "../../protocol/text.ts";
import { runPrompt } from "./prompt-program.ts";

/** Shows prompts, each until it is answered or its signal is aborted, which closes it. */
export interface Prompter {
  /**
   * Asks whether a key may be used.
   * @throws {Failure} user-refused, when nobody can be asked
   */
  readonly confirm: (question: string, signal: AbortSignal) => Promise<boolean>;
  /** Asks for a PIN, which the caller overwrites; undefined without an answer. */
  readonly askPin: (question: string, signal: AbortSignal) => Promise<Buffer | undefined>;
  /** Shows a notice, where there is a way to, until its program exits. */
  readonly notify: (text: string, signal: AbortSignal) => Promise<void>;
}

/**
 * The prompter that runs the programs which an environment names.
 * @param showOnTerminal shows a notice on the terminal of an agent in the foreground, if it has one
 */
export function makePrompter(
  environment: NodeJS.ProcessEnv,
  showOnTerminal: (text: string) => void = () => {},
): Prompter {
  const { SSH_ASKPASS_PROMPT: _, ...plain } = environment;
  const program = askpassProgram(environment);
  const mayAsk = mayRunAskpass(environment);
  return {
    async confirm(question, signal) {
      if (!mayAsk) {
        throw new Failure(
          "user-refused",
          "This key needs confirmation, and there is no display for the prompt.",
          "Start ssh-agent with SSH_ASKPASS and DISPLAY set, or with SSH_ASKPASS_REQUIRE=force.",
        );
      }
      const env = { ...plain, SSH_ASKPASS_PROMPT: "confirm" };
      const result = await runPrompt(program, question, env, true, signal);
      if (signal.aborted) return false;
      if (result === undefined) {
        const sentence = `The askpass program ${program} cannot be run.`;
        throw new Failure("user-refused", sentence, "Set SSH_ASKPASS to an askpass program.");
      }
      const [word = ""] = result.output
        .toString("utf8")
        .toLowerCase()
        .split(/[\r\n]/);
      return result.status === 0 && (word === "" || word === "yes");
    },
    async askPin(question, signal) {
      if (!mayAsk) return undefined;
      const result = await runPrompt(program, question, plain, true, signal);
      if (result === undefined) return undefined;
      const pin = firstLine(result.output);
      result.output.fill(0);
      if (result.status === 0 && pin.length > 0) return pin;
      pin.fill(0);
      return undefined;
    },
    async notify(text, signal) {
      const { SSH_NOTIFY } = environment;
      if (SSH_NOTIFY) await runPrompt(SSH_NOTIFY, text, environment, false, signal);
      else if (mayAsk) {
        const env = { ...plain, SSH_ASKPASS_PROMPT: "none" };
        await runPrompt(program, text, env, false, signal);
      } else showOnTerminal(text);
    },
  };
}

/** A copy of the first line. */
function firstLine(text: Buffer): Buffer {
  const end = text.findIndex(endsAnswer);
  return Buffer.from(end < 0 ? text : text.subarray(0, end));
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

/** The name and number of a process. */
export async function describeProcess(pid: number): Promise<string> {
  const name = await processName(pid);
  return name === "" ? `pid ${pid}` : `${name} (pid ${pid})`;
}

/** The name of a process, which chooses it itself; empty if the system does not tell. */
export async function processName(pid: number): Promise<string> {
  try {
    return sanitizeName(decodeText(await readFile(`/proc/${pid}/comm`)).replace(/\n$/, ""));
  } catch {
    return "";
  }
}
