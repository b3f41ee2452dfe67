/**
 * Asking for a PIN or a passphrase: whom to ask.
 *
 * Where standard input is a terminal, the user there is asked, unless SSH_ASKPASS_REQUIRE prefers the
 * askpass program. Elsewhere that program is asked if it may be run, else the controlling terminal,
 * and without that standard input.
 */
import { isatty } from "node:tty";
import { askpassProgram, mayRunAskpass, prefersAskpass } from "../../openssh/askpass.ts";
import { sanitizeForDisplay } from "../../openssh/text-for-display.ts";
import type { Console, Debug } from "../console.ts";
import { readLineOfInput } from "./standard-input.ts";

/** Asks for secrets. The buffers that it returns are the caller's to overwrite. */
export class Prompter {
  readonly #console: Console;
  readonly #env: NodeJS.ProcessEnv;
  readonly #debug: Debug;

  constructor(console: Console, env: NodeJS.ProcessEnv, debug: Debug) {
    this.#console = console;
    this.#env = env;
    this.#debug = debug;
  }

  /**
   * Asks for a secret; it is empty without an answer.
   * @param prompt what is shown, as in "Enter passphrase for PKCS#11: "
   */
  async ask(prompt: string): Promise<Buffer> {
    return (await this.askOrCancel(prompt)) ?? Buffer.alloc(0);
  }

  /** The same; undefined when an askpass program was cancelled, or cannot be run. */
  async askOrCancel(question: string): Promise<Buffer | undefined> {
    const prompt = sanitizeForDisplay(question); // it may name a file
    const { asksProgram, why } = this.#choice();
    if (why !== "") this.#debug(1, `read_passphrase: ${why}`);
    if (asksProgram) {
      const { askAskpass } = await import("./askpass.ts");
      return askAskpass(askpassProgram(this.#env), prompt, this.#console);
    }
    const { askTerminal } = await import("./terminal.ts");
    const answer = await askTerminal(prompt);
    if (answer !== undefined) return answer;
    this.#console.draw(prompt);
    return readLineOfInput();
  }

  /** Whether an askpass program is asked: it may answer at once, whatever the question. */
  get asksProgram(): boolean {
    return this.#choice().asksProgram;
  }

  #choice(): { readonly asksProgram: boolean; readonly why: string } {
    if (prefersAskpass(this.#env)) return { asksProgram: true, why: "requested to askpass" };
    if (isatty(0)) return { asksProgram: false, why: "" };
    return { asksProgram: mayRunAskpass(this.#env), why: "stdin is not a tty" };
  }
}
