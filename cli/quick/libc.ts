/**
 * The system's calls for the quick ssh-add of a release. Node.js's modules take bun longer to load than it
 * takes to start, and what its own sockets and pipes have received stays in memory.
 */
import { dlopen, read } from "bun:ffi";
import type { FrameReader } from "../../protocol/framing.ts";

const unixFamily = 1;
const streamType = 1;
/** SOCK_CLOEXEC of socket(2), and O_CLOEXEC of pipe2(2). */
export const closeOnExec = 0o2000000;
/** The length of a `struct sockaddr_un`, whose path ends with a zero byte (unix(7)). */
const addressLength = 110;
const messageBufferLength = 64 * 1024;
const interrupted = 4; // EINTR

/** @throws if bun may not make code to call functions of C, as with little memory */
const load = () =>
  dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
    read: { args: ["i32", "ptr", "usize"], returns: "i64_fast" },
    write: { args: ["i32", "ptr", "usize"], returns: "i64_fast" },
    isatty: { args: ["i32"], returns: "i32" },
    __errno_location: { args: [], returns: "ptr" },
  }).symbols;

let loaded: ReturnType<typeof load> | undefined;

function libc(): ReturnType<typeof load> {
  loaded ??= load();
  return loaded;
}

/** A system call that has failed. */
export class SystemError extends Error {
  /** As in errno(3). */
  readonly number: number;

  constructor(number: number) {
    super(`Error ${number} of the system.`);
    this.number = number;
  }
}

/**
 * Makes a system call, again if a signal interrupts it.
 * @param make returns a negative number for an error
 * @throws {SystemError}
 */
export function call(make: () => number): number {
  for (;;) {
    const result = make();
    if (result >= 0) return result;
    const number = read.i32(libc().__errno_location(), 0);
    if (number !== interrupted) throw new SystemError(number);
  }
}

/** Connects to a socket. @returns the descriptor. @throws {SystemError} */
export function connectTo(path: string): number {
  const address = Buffer.alloc(addressLength);
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = unixFamily;
  const pathLength = address.write(path, 2);
  if (path === "" || pathLength !== Buffer.byteLength(path) || pathLength + 2 >= addressLength) {
    throw new Error("The path of the socket is empty or too long.");
  }
  const descriptor = call(() => libc().socket(unixFamily, streamType | closeOnExec, 0));
  call(() => libc().connect(descriptor, address, addressLength));
  return descriptor;
}

/** Reads what there is, at most the buffer's length. @returns 0 at the end. @throws {SystemError} */
export function readInto(descriptor: number, buffer: Buffer): number {
  return call(() => libc().read(descriptor, buffer, buffer.length));
}

/**
 * Waits for the next message of an agent.
 * @param frames the reader of this connection
 * @returns undefined at the end
 * @throws {SystemError}; {Failure} malformed or too-large
 */
export function readMessage(descriptor: number, frames: FrameReader): Buffer | undefined {
  for (;;) {
    const message = frames.next();
    if (message !== undefined) return message;
    const buffer = Buffer.allocUnsafeSlow(messageBufferLength);
    const length = readInto(descriptor, buffer);
    if (length === 0) return undefined;
    frames.add(buffer.subarray(0, length));
  }
}

/** Writes at least a byte. @returns how many. @throws {SystemError} */
export function writeSome(descriptor: number, bytes: Uint8Array): number {
  return call(() => libc().write(descriptor, bytes, bytes.length));
}

/** Writes all bytes, to a descriptor that blocks. @throws {SystemError} */
export function writeAll(descriptor: number, bytes: Uint8Array): void {
  for (let rest = bytes; rest.length > 0; ) {
    rest = rest.subarray(writeSome(descriptor, rest));
  }
}

/** Whether a descriptor is a terminal. */
export function isatty(descriptor: number): boolean {
  return libc().isatty(descriptor) === 1;
}
