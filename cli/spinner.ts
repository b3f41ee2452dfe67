/** A spinner on the terminal during slow operations. */
import type { Console } from "./console.ts";

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const frameTime = 80;
const eraseLine = "\r\u001b[K";

/** Shows a spinner and a text on standard error after a delay, until `end` is called. */
export class Spinner {
  readonly #console: Console;
  readonly #text: string;
  #timer: NodeJS.Timeout | undefined;
  #frame = 0;
  /** Erases the spinner, then ends the program by the same signal. */
  readonly #interrupt = () => {
    this.end();
    process.kill(process.pid, "SIGINT");
  };

  /**
   * @param text what the user is waiting for
   * @param delay milliseconds until the spinner appears
   */
  constructor(console: Console, text: string, delay = 500) {
    this.#console = console;
    this.#text = text;
    if (console.errorIsTerminal) this.#timer = setTimeout(() => this.#start(), delay);
  }

  /** Erases the spinner. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#frame > 0) this.#console.draw(eraseLine);
    this.#frame = 0;
    process.off("SIGINT", this.#interrupt);
  }

  #start(): void {
    process.once("SIGINT", this.#interrupt);
    this.#draw();
    this.#timer = setInterval(() => this.#draw(), frameTime);
  }

  #draw(): void {
    const frame = frames[this.#frame++ % frames.length];
    // A line that wraps could not be erased.
    const line = `${frame} ${this.#text}`.slice(0, this.#console.errorColumns - 1);
    this.#console.draw(`\r${line}`);
  }
}
