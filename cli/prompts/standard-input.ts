/**
 * Synchronous reads from standard input, for secrets and key files. They also wait if another
 * process that shares the descriptor has made it non-blocking.
 */
import { readSync } from "node:fs";
import { endsAnswer } from "../../openssh/askpass.ts";
import { sleepSync } from "../../openssh/sleep-sync.ts";
import { errorCode } from "../../openssh/strerror.ts";
import { SecretLine } from "./secret-line.ts";

const standardInput = 0;

/** The maximum size of OpenSSH's buffers. */
const maxInput = 128 * 1024 * 1024;
const chunkLength = 64 * 1024;

/** Milliseconds between attempts to read a non-blocking descriptor. */
const minPause = 1;
const maxPause = 50;

/**
 * Reads one line byte by byte, so that the next line is left for the next prompt or another program.
 * The end of input and errors end the line.
 */
export function readLineOfInput(): Buffer {
  const line = new SecretLine();
  const byte = Buffer.alloc(1);
  while (readByte(byte) && !endsAnswer(byte[0])) line.add(byte[0] as number);
  byte.fill(0);
  return line.finish();
}

/**
 * Reads all of standard input or of another descriptor. The caller overwrites the buffer, which is
 * the only copy; `readFileSync` leaves others when it reads a pipe.
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

/** EFBIG is 27 on Linux and macOS; loading `node:os` for it would take time. */
function tooLarge(): Error {
  return Object.assign(new Error("too large"), { code: "EFBIG", errno: -27 });
}

/** @returns false at the end of input and after an error */
function readByte(byte: Buffer): boolean {
  try {
    return readSome(standardInput, byte) === 1;
  } catch {
    return false;
  }
}

/** Waits for input. @returns the number of bytes read; 0 at the end of input */
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
