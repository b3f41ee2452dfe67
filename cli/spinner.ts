/** A sign of life on a terminal while something takes long: a card, or its user. */
import type { Console } from "./console.ts";

const frames = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"] as const;
const frameTime = 80;
const eraseLine = "\r\u001b[K";

/** Shows a spinner and a text on standard error once some time has passed, until it is ended. */
export class Spinner {
  readonly #console: Console;
  readonly #text: string;
  #timer: NodeJS.Timeout | undefined;
  #frame = 0;
  /** Ends the program as it would have ended, but for what is on the screen. */
  readonly #interrupt = () => {
    this.end();
    process.kill(process.pid, "SIGINT");
  };

  /**
   * @param text what is being waited for
   * @param patience milliseconds until it shows
   */
  constructor(console: Console, text: string, patience = 500) {
    this.#console = console;
    this.#text = text;
    if (console.errorIsTerminal) this.#timer = setTimeout(() => this.#start(), patience);
  }

  /** Takes it off the screen; what is written next looks as if it had never been there. */
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
    // A line that is longer than the terminal is wide cannot be taken back.
    const line = `${frame} ${this.#text}`.slice(0, this.#console.errorColumns - 1);
    this.#console.draw(`\r${line}`);
  }
}
