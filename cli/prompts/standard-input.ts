/** Secrets from standard input, for programs that have neither a terminal nor a display. */
import { readSync } from "node:fs";
import { hasCode } from "../system-errors.ts";
import { SecretLine } from "./secret-line.ts";

const newline = 0x0a;
const carriageReturn = 0x0d;

/**
 * Reads one line byte by byte, never more than its newline, so that the next prompt or another
 * program finds the next line. At the end of input it returns what there was.
 */
export function readLineOfInput(): Buffer {
  const line = new SecretLine();
  const byte = Buffer.alloc(1);
  while (readByte(byte) && !endsLine(byte[0])) line.add(byte[0] as number);
  byte.fill(0);
  return line.finish();
}

/** A carriage return does too, as in OpenSSH: files that were made elsewhere have one before it. */
function endsLine(byte: number | undefined): boolean {
  return byte === newline || byte === carriageReturn;
}

/** @returns false at the end of input, or when it cannot be read */
function readByte(byte: Buffer): boolean {
  for (;;) {
    try {
      return readSync(0, byte, 0, 1, null) === 1;
    } catch (error) {
      if (!hasCode(error, "EAGAIN")) return false;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5);
    }
  }
}
