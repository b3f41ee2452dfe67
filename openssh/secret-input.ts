/**
 * Reads secrets from sockets, terminals and programs into one buffer, which is overwritten. By
 * default, Node.js copies each chunk from a libuv buffer, which versions 20 and 22 free without
 * overwriting, and newer versions keep for the next read.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync } from "node:fs";
import { type OnReadOpts, Socket, type SocketConstructorOpts } from "node:net";
import type { Readable } from "node:stream";
import { loadKoffi } from "./add-ons.ts";

const bufferLength = 64 * 1024;

/**
 * Options for a new socket or terminal. It emits no "data"; the caller resumes it.
 * @param receive takes each chunk, which is overwritten afterwards
 */
export function readInto(
  receive: (chunk: Buffer) => void,
): SocketConstructorOpts & { onread: OnReadOpts } {
  const buffer = Buffer.alloc(bufferLength);
  const callback = (length: number) => {
    const chunk = buffer.subarray(0, length);
    receive(chunk);
    chunk.fill(0);
    return true;
  };
  return { onread: { buffer, callback } };
}

export interface ProgramOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly detached?: boolean;
  /** Standard input and standard error. */
  readonly others: "inherit" | "ignore";
}

/** A program whose standard output is read. */
export interface SecretProgram {
  readonly child: ChildProcess;
  /** Standard output, for its events "end" and "close"; null if there is none. */
  readonly output: Readable | null;
}

/**
 * Starts a program that writes a secret.
 * @param receive takes each chunk of its standard output, which is overwritten afterwards
 * @throws the system's error, if it cannot be started; others come as "error" of the child
 */
export function spawnForSecret(
  program: string,
  args: readonly string[],
  { others, ...options }: ProgramOptions,
  receive: (chunk: Buffer) => void,
): SecretProgram {
  const [readable, writable] = openPipe() ?? [];
  const stdout = writable ?? "pipe";
  const input = readable === undefined ? undefined : pipeReader(readable, receive);
  try {
    const child = spawn(program, args, { ...options, stdio: [others, stdout, others] });
    child.stdout?.on("data", (chunk: Buffer) => {
      receive(chunk);
      chunk.fill(0);
    });
    return { child, output: input ?? child.stdout };
  } catch (error) {
    input?.destroy();
    throw error;
  } finally {
    if (writable !== undefined) closeSync(writable);
  }
}

function pipeReader(fd: number, receive: (chunk: Buffer) => void): Socket {
  return new Socket({ fd, writable: false, ...readInto(receive) }).resume();
}

const closeOnExec = 0o2000000;

/**
 * Opens a pipe, because Node.js itself reads the pipes that it creates.
 * @param flags of pipe2(2), besides O_CLOEXEC
 * @returns its read and write ends; undefined without koffi or free descriptors
 */
export function openPipe(flags = 0): [readable: number, writable: number] | undefined {
  const ends = new Int32Array(2);
  try {
    // macOS has no pipe2(2), but there Node.js closes all other descriptors in child processes.
    const isMac = process.platform === "darwin";
    const library = loadKoffi().load(isMac ? "libSystem.dylib" : "libc.so.6");
    const status: number = isMac
      ? library.func("int pipe(int *)")(ends)
      : library.func("int pipe2(int *, int)")(ends, closeOnExec | flags);
    const [readable = -1, writable = -1] = ends;
    return status === 0 ? [readable, writable] : undefined;
  } catch {
    return undefined;
  }
}
