/**
 * Synchronous output of ssh-add on standard output and standard error.
 *
 * Text from agents, cards and files can hold control characters. A terminal gets octal escapes; a
 * pipe or file gets the bytes unchanged, because scripts compare them.
 */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { brokenPipeStatus } from "../openssh/exit.ts";
import { sleepSync } from "../openssh/sleep-sync.ts";
import { errorCode, strerror } from "../openssh/strerror.ts";
import { escapeLogLine, sanitizeForDisplay } from "../openssh/text-for-display.ts";
import { encodeText } from "../protocol/text.ts";

/** The width of a terminal that does not report one. */
const defaultColumns = 80;

/** Standard output and standard error of one run. */
export interface Console {
  readonly outputIsTerminal: boolean;
  readonly errorIsTerminal: boolean;
  /** The width of the terminal on standard error. */
  readonly errorColumns: number;
  /** Writes a line of the result to standard output. */
  print(line: string): void;
  /** As `print`, without escapes: for coloured lines and constant text. */
  paint(line: string): void;
  /** Writes a message to standard error. */
  note(line: string): void;
  /** As `note`, in the format of OpenSSH's log: CR LF, and octal escapes outside printable ASCII. */
  log(line: string): void;
  /** Writes text to standard error, without escapes or newline: prompts, spinners. */
  draw(text: string): void;
}

/** The console of this process. */
export function processConsole(): Console {
  return {
    get outputIsTerminal() {
      return isatty(1);
    },
    get errorIsTerminal() {
      return isatty(2);
    },
    get errorColumns() {
      return process.stderr.columns || defaultColumns;
    },
    print: (line) => writeLine(1, line),
    paint: (line) => writeAll(1, encodeText(`${line}\n`)),
    note: (line) => writeLine(2, line),
    log: (line) => writeAll(2, Buffer.from(`${escapeLogLine(line)}\r\n`, "latin1")),
    draw: (text) => writeAll(2, Buffer.from(text)),
  };
}

/** Writes a debug message, if at least `level` -v options were given. */
export type Debug = (level: 1 | 2 | 3, line: string) => void;

/** Debug messages in OpenSSH's format. @param verbosity the number of -v options */
export function debugTo(console: Console, verbosity: number): Debug {
  return (level, line) => {
    if (verbosity >= level) console.log(`debug${level}: ${line}`);
  };
}

/** The message for an error: strerror(3) for a system error, else only the error's code or name. */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  return strerror(error) ?? `internal error (${errorCode(error) ?? error.name})`;
}

function writeLine(descriptor: number, line: string): void {
  const escaped = sanitizeForDisplay(line);
  const text = escaped !== line && isatty(descriptor) ? escaped : line;
  writeAll(descriptor, encodeText(`${text}\n`));
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  let rest = bytes;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const code = errorCode(error);
      if (code === "EPIPE") process.exit(brokenPipeStatus);
      if (code !== "EAGAIN") return;
      sleepSync(2); // the pipe is full
    }
  }
}
