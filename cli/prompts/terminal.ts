/**
 * Prompts on the controlling terminal without echo.
 *
 * In raw mode the terminal passes on every key, so this module handles line editing, interrupt, quit
 * and suspend. It restores the terminal before a prompt ends in any way.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { ReadStream } from "node:tty";
import { type Exit, exit } from "../../openssh/exit.ts";
import { readInto } from "../../openssh/secret-input.ts";
import { SecretLine } from "./secret-line.ts";

const keys = {
  endOfFile: 0x04,
  backspace: 0x08,
  interrupt: 0x03,
  newline: 0x0a,
  enter: 0x0d,
  eraseLine: 0x15,
  eraseWord: 0x17,
  suspend: 0x1a,
  quit: 0x1c,
  delete: 0x7f,
} as const;

const endingSignals = ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"] as const;

/**
 * Shows a prompt on the controlling terminal and reads a line without echo.
 * @returns undefined without a controlling terminal
 * @throws {Exit} without a message when the terminal hangs up, as when its window is closed
 */
export function askTerminal(prompt: string): Promise<Buffer | undefined> {
  let opened: TerminalPrompt;
  try {
    opened = new TerminalPrompt(prompt);
  } catch {
    return Promise.resolve(undefined);
  }
  return opened.answer();
}

/** One prompt, until the terminal is restored. */
class TerminalPrompt {
  readonly #descriptor: number;
  readonly #prompt: string;
  readonly #input: ReadStream;
  readonly #line = new SecretLine();
  readonly #end = (signal: NodeJS.Signals) => this.#dieOf(signal);
  readonly #continue = () => this.#show();
  readonly #restore = () => this.#input.setRawMode(false);
  #resolve: (line: Buffer) => void = () => {};
  #reject: (end: Exit) => void = () => {};
  #isOver = false;

  /** @throws without a controlling terminal */
  constructor(prompt: string) {
    this.#prompt = prompt;
    this.#input = new ReadStream(
      openSync("/dev/tty", "r+"),
      readInto((chunk) => this.#receive(chunk)),
    );
    this.#descriptor = openSync("/dev/tty", "r+");
  }

  answer(): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
      for (const signal of endingSignals) process.on(signal, this.#end);
      process.on("SIGCONT", this.#continue);
      process.on("exit", this.#restore);
      this.#input.resume();
      // After a hangup, each change of the terminal's mode emits another error.
      this.#input.on("end", () => this.#giveUp());
      this.#input.on("error", () => this.#giveUp());
      this.#show();
    });
  }

  /** The terminal hung up: discard the incomplete secret. */
  #giveUp(): void {
    if (this.#isOver) return;
    this.#line.eraseAll();
    this.#leave();
    this.#reject(exit("", 1));
  }

  /** Called again after SIGCONT: the shell may have changed the terminal's mode. */
  #show(): void {
    this.#input.setRawMode(false);
    this.#input.setRawMode(true);
    this.#write(this.#prompt);
  }

  #write(text: string): void {
    try {
      writeSync(this.#descriptor, text);
    } catch {
      this.#giveUp();
    }
  }

  #receive(chunk: Buffer): void {
    for (let at = 0; at < chunk.length; at++) {
      if (this.#press(chunk[at] as number)) break;
    }
  }

  /** @returns true when this key ended the prompt */
  #press(key: number): boolean {
    switch (key) {
      case keys.enter:
      case keys.newline:
        this.#finish();
        return true;
      case keys.endOfFile:
        if (!this.#line.isEmpty) return false;
        this.#finish();
        return true;
      case keys.interrupt:
        this.#dieOf("SIGINT");
        return true;
      case keys.quit:
        this.#dieOf("SIGQUIT");
        return true;
      case keys.suspend:
        this.#suspend();
        return false;
      case keys.backspace:
      case keys.delete:
        this.#line.eraseCharacter();
        return false;
      case keys.eraseLine:
      case keys.eraseWord:
        this.#line.eraseAll();
        return false;
      default:
        this.#line.add(key);
        return false;
    }
  }

  #finish(): void {
    this.#leave();
    this.#resolve(this.#line.finish());
  }

  /** Restores the terminal and moves the cursor to a new line. */
  #leave(): void {
    this.#isOver = true;
    for (const signal of endingSignals) process.off(signal, this.#end);
    process.off("SIGCONT", this.#continue);
    process.off("exit", this.#restore);
    this.#restore();
    this.#input.destroy();
    this.#write("\n");
    closeSync(this.#descriptor);
  }

  #dieOf(signal: NodeJS.Signals): void {
    this.#line.eraseAll();
    this.#leave();
    process.kill(process.pid, signal);
  }

  #suspend(): void {
    this.#line.eraseAll();
    this.#restore();
    this.#write("\n");
    process.kill(0, "SIGTSTP");
  }
}
