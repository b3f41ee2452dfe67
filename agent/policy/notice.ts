/**
 * What is said to, and asked of, whoever sits before a card or a FIDO authenticator, by an askpass
 * program as in OpenSSH, or by a program of their own choice.
 */
import { askpassProgram, endsAnswer, mayRunAskpass } from "../../openssh/askpass.ts";
import { runPrompt } from "./prompt-program.ts";

/** The person who sits before the machine. */
export interface Person {
  /**
   * Shows a notice, where there is a way to, until it is taken back or its program ends.
   * @param taken aborted when the notice is to be taken back
   */
  readonly notify: (text: string, taken: AbortSignal) => Promise<void>;
  /**
   * Asks for a PIN; undefined where nobody can be asked. The PIN is the caller's to overwrite.
   * @param taken aborted when the question is to be taken back
   */
  readonly askPin: (question: string, taken: AbortSignal) => Promise<Buffer | undefined>;
}

/** The person whose display an environment names. */
export function personOf(environment: NodeJS.ProcessEnv): Person {
  return { notify: notifier(environment), askPin: askpassPin(environment) };
}

/**
 * Makes a function that shows a notice: it runs SSH_NOTIFY, or SSH_ASKPASS with
 * SSH_ASKPASS_PROMPT=none. Without either nothing is shown.
 */
export function notifier(environment: NodeJS.ProcessEnv): Person["notify"] {
  const { SSH_NOTIFY: program } = environment;
  return async (text, taken) => {
    if (program) await runPrompt(program, text, environment, false, taken);
    else if (mayRunAskpass(environment)) {
      const env = { ...environment, SSH_ASKPASS_PROMPT: "none" };
      await runPrompt(askpassProgram(env), text, env, false, taken);
    }
  };
}

/**
 * Makes a function that asks for a PIN by SSH_ASKPASS. It resolves with undefined when there is no
 * display, or no answer.
 */
export function askpassPin(environment: NodeJS.ProcessEnv): Person["askPin"] {
  return async (question, taken) => {
    if (!mayRunAskpass(environment)) return undefined;
    const { SSH_ASKPASS_PROMPT: _, ...env } = environment;
    const result = await runPrompt(askpassProgram(env), question, env, true, taken);
    if (result === undefined) return undefined;
    const pin = firstLine(result.output);
    result.output.fill(0);
    if (result.status === 0 && pin.length > 0) return pin;
    pin.fill(0);
    return undefined;
  };
}

/** A copy of the first line. */
function firstLine(text: Buffer): Buffer {
  const end = text.findIndex(endsAnswer);
  return Buffer.from(end < 0 ? text : text.subarray(0, end));
}
