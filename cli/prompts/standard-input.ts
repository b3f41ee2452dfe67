/**
 * Standard input: secrets for programs that have neither a terminal nor a display, and key files. A
 * program that shares it may have made it non-blocking; then this waits for it.
 */
import { readSync } from "node:fs";
import { endsAnswer } from "../../openssh/askpass.ts";
import { sleepSync } from "../../openssh/sleep-sync.ts";
import { errorCode } from "../../openssh/strerror.ts";
import { SecretLine } from "./secret-line.ts";

const standardInput = 0;

/** No list of keys is longer; as OpenSSH's buffers. */
const maxInput = 128 * 1024 * 1024;
const chunkLength = 64 * 1024;

/** Milliseconds between looks at an input that does not block. */
const minPause = 1;
const maxPause = 50;

/**
 * Reads one line byte by byte, never more than its newline, so that the next prompt or another
 * program finds the next line. At the end of input, or when it cannot be read, it returns what there
 * was.
 */
export function readLineOfInput(): Buffer {
  const line = new SecretLine();
  const byte = Buffer.alloc(1);
  while (readByte(byte) && !endsAnswer(byte[0])) line.add(byte[0] as number);
  byte.fill(0);
  return line.finish();
}

/**
 * Reads all of it, or all of another open file, whose name may be that of a pipe. The buffer is the
 * caller's to overwrite, and there is no other copy, as `readFileSync` leaves of what a pipe gives.
 * @throws the system's error; EFBIG for more than 128 MiB
 */
export function readInput(descriptor = standardInput): Buffer {
  let input = Buffer.alloc(chunkLength);
  let length = 0;
  for (;;) {
    const count = readSome(descriptor, input.subarray(length));
    if (count === 0) return input.subarray(0, length);
    length += count;
    if (length < input.length) continue;
    if (length >= maxInput) throw tooLarge();
    const longer = Buffer.alloc(2 * length);
    input.copy(longer);
    input.fill(0);
    input = longer;
  }
}

/** EFBIG has this number on Linux and on macOS; `node:os` takes time to load. */
function tooLarge(): Error {
  return Object.assign(new Error("too large"), { code: "EFBIG", errno: -27 });
}

/** @returns false at the end of input, or when it cannot be read */
function readByte(byte: Buffer): boolean {
  try {
    return readSome(standardInput, byte) === 1;
  } catch {
    return false;
  }
}

/** Waits until there is something to read. @returns how many bytes came; 0 at the end of input */
function readSome(descriptor: number, buffer: Buffer): number {
  for (let pause = minPause; ; pause = Math.min(2 * pause, maxPause)) {
    try {
      return readSync(descriptor, buffer, 0, buffer.length, null);
    } catch (error) {
      if (errorCode(error) !== "EAGAIN") throw error;
      sleepSync(pause);
    }
  }
}
