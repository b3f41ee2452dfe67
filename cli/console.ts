/**
 * What ssh-add writes: bytes straight to the two descriptors, in order, done when a call returns.
 *
 * Text from agents, cards and files can hold control characters. On a terminal they are shown as
 * octal escapes; into a pipe they go as they are, for scripts compare them.
 */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { sleepSync } from "../openssh/sleep-sync.ts";
import { errorCode, strerror } from "../openssh/strerror.ts";
import { escapeLogLine, sanitizeForDisplay } from "../openssh/text-for-display.ts";
import { encodeText } from "../protocol/text.ts";

/** The exit status of a program that writes into a closed pipe: 128 and SIGPIPE's number. */
const brokenPipeStatus = 141;

/** The width of a terminal that does not tell it. */
const usualColumns = 80;

/** Standard output and standard error of one run. */
export interface Console {
  readonly outputIsTerminal: boolean;
  readonly errorIsTerminal: boolean;
  /** How wide the terminal is that standard error is. */
  readonly errorColumns: number;
  /** A line of the answer, on standard output. */
  print(line: string): void;
  /** As `print`, for lines with colours in them or of this program's own words. */
  paint(line: string): void;
  /** A line for the user, on standard error. */
  note(line: string): void;
  /** As `note`, in the form of OpenSSH's log lines: it ends in CR LF, and odd bytes are octal. */
  log(line: string): void;
  /** Text without a newline on standard error, as it stands: prompts, spinners. */
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
      return process.stderr.columns || usualColumns;
    },
    print: (line) => writeLine(1, line),
    paint: (line) => writeAll(1, encodeText(`${line}\n`)),
    note: (line) => writeLine(2, line),
    log: (line) => writeAll(2, Buffer.from(`${escapeLogLine(line)}\r\n`, "latin1")),
    draw: (text) => writeAll(2, Buffer.from(text)),
  };
}

/** Says what goes on, to those who asked for that much: one -v for level 1, two for level 2. */
export type Debug = (level: 1 | 2 | 3, line: string) => void;

/** What -v adds, in the form of OpenSSH's debugging lines. @param verbosity how many -v were given */
export function debugTo(console: Console, verbosity: number): Debug {
  return (level, line) => {
    if (verbosity >= level) console.log(`debug${level}: ${line}`);
  };
}

/**
 * What is said of an error: the C library's words for one of the system. Of any other it tells the
 * kind alone: its message is for the developers of this program.
 */
export function errorText(error: unknown): string {
  if (!(error instanceof Error)) return "unknown error";
  return strerror(error) ?? `internal error (${errorCode(error) ?? error.name})`;
}

function writeLine(descriptor: number, line: string): void {
  writeAll(descriptor, encodeText(`${forDescriptor(descriptor, line)}\n`));
}

function forDescriptor(descriptor: number, line: string): string {
  const escaped = sanitizeForDisplay(line);
  return escaped !== line && isatty(descriptor) ? escaped : line;
}

function writeAll(descriptor: number, bytes: Uint8Array): void {
  let rest = bytes;
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(descriptor, rest));
    } catch (error) {
      const code = errorCode(error);
      if (code === "EPIPE") process.exit(brokenPipeStatus);
      if (code !== "EAGAIN") return; // nobody reads it
      sleepSync(2); // the pipe is full
    }
  }
}
