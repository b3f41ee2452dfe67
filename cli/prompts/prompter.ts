/**
 * Asking for a PIN or a passphrase: whom to ask.
 *
 * Where standard input is a terminal, the person there is asked. Elsewhere SSH_ASKPASS is, if there
 * is a display; without one, the controlling terminal, and without that standard input.
 * SSH_ASKPASS_REQUIRE overrides this: "force" and "prefer" ask SSH_ASKPASS even on a terminal (the
 * latter only with a display), "never" does not ask it.
 */
import { isatty } from "node:tty";
import { sanitizeForDisplay } from "../../openssh/text-for-display.ts";
import type { Console, Debug } from "../console.ts";
import { readLineOfInput } from "./standard-input.ts";

/** The program that is asked when SSH_ASKPASS does not name one. */
const defaultAskpass = "/usr/bin/ssh-askpass";

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
   * Asks for a secret. Whoever gives none, or cannot be asked, has given an empty one.
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
      return askAskpass(this.#env.SSH_ASKPASS || defaultAskpass, prompt, this.#console);
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
    const hasDisplay = Boolean(this.#env.DISPLAY) || Boolean(this.#env.WAYLAND_DISPLAY);
    const required = this.#env.SSH_ASKPASS_REQUIRE?.toLowerCase();
    if (required === "force" || (required === "prefer" && hasDisplay)) {
      return { asksProgram: true, why: "requested to askpass" };
    }
    if (isatty(0)) return { asksProgram: false, why: "" };
    return { asksProgram: hasDisplay && required !== "never", why: "stdin is not a tty" };
  }
}
