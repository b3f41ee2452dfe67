/**
 * Asks for a PIN or a passphrase, in OpenSSH's order.
 *
 * If standard input is a terminal, prompt there, unless SSH_ASKPASS_REQUIRE prefers the askpass
 * program. Otherwise run that program if allowed, else prompt on the controlling terminal, and
 * without one read standard input.
 */
import { isatty } from "node:tty";
import { askpassProgram, mayRunAskpass, prefersAskpass } from "../../openssh/askpass.ts";
import { sanitizeForDisplay } from "../../openssh/text-for-display.ts";
import type { Console, Debug } from "../console.ts";
import { readLineOfInput } from "./standard-input.ts";

/** Asks for secrets. The caller overwrites the returned buffers. */
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
   * Asks for a secret.
   * @param prompt as in "Enter passphrase for PKCS#11: "
   * @returns empty without an answer
   */
  async ask(prompt: string): Promise<Buffer> {
    return (await this.askOrCancel(prompt)) ?? Buffer.alloc(0);
  }

  /** As `ask`, but undefined when the askpass program was cancelled or cannot be run. */
  async askOrCancel(question: string): Promise<Buffer | undefined> {
    const prompt = sanitizeForDisplay(question); // it may name a file
    const { usesAskpass, why } = this.#choose();
    if (why !== "") this.#debug(1, `read_passphrase: ${why}`);
    if (usesAskpass) {
      const { askAskpass } = await import("./askpass.ts");
      return askAskpass(askpassProgram(this.#env), prompt, this.#console);
    }
    const { askTerminal } = await import("./terminal.ts");
    const answer = await askTerminal(prompt);
    if (answer !== undefined) return answer;
    this.#console.draw(prompt);
    return readLineOfInput();
  }

  /** Whether the askpass program is asked. */
  get usesAskpass(): boolean {
    return this.#choose().usesAskpass;
  }

  #choose(): { readonly usesAskpass: boolean; readonly why: string } {
    if (prefersAskpass(this.#env)) return { usesAskpass: true, why: "requested to askpass" };
    if (isatty(0)) return { usesAskpass: false, why: "" };
    return { usesAskpass: mayRunAskpass(this.#env), why: "stdin is not a tty" };
  }
}
