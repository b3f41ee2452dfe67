/**
 * What ssh-add writes: bytes straight to the two descriptors, in order, done when a call returns.
 *
 * Text from agents, cards and files can hold control characters. On a terminal they are shown as
 * octal escapes; into a pipe they go as they are, for scripts compare them.
 */
import { writeSync } from "node:fs";
import { isatty } from "node:tty";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
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
  /** A line for the person, on standard error. */
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
    log: (line) => writeAll(2, Buffer.from(`${escapeAll(line)}\r\n`, "latin1")),
    draw: (text) => writeAll(2, Buffer.from(text)),
  };
}

/** Shows everything but printable US-ASCII and tab as octal escapes, and doubles backslashes. */
function escapeAll(text: string): string {
  let shown = "";
  for (const symbol of text) {
    if (symbol === "\\") shown += "\\\\";
    else
      shown +=
        symbol === "\t" || (symbol >= " " && symbol <= "~") ? symbol : octal(encodeText(symbol));
  }
  return shown;
}

function octal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => `\\${byte.toString(8).padStart(3, "0")}`).join("");
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
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EPIPE") process.exit(brokenPipeStatus);
      if (code !== "EAGAIN") return; // nobody is left to tell
      pause();
    }
  }
}

/** Waits a moment for a pipe that is full. */
function pause(): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2);
}
