/** Runs an askpass program, and reads its answer into one buffer, which is overwritten. */
import { dlopen, ptr, read } from "bun:ffi";
import { endsAnswer } from "../../openssh/askpass.ts";
import { SecretLine } from "../prompts/secret-line.ts";
import { call, closeOnExec, readInto } from "./libc.ts";

const defaultSignals = 4; // POSIX_SPAWN_SETSIGDEF
const childSignal = 17; // SIGCHLD
/** More than glibc's opaque types of posix_spawn(3), and its `sigset_t`, need. */
const opaqueSize = 512;
const bufferLength = 4096;

/**
 * Runs a program with the prompt as its argument, and waits for it.
 * @param program its path, or a name to look up in PATH
 * @returns the first line of its output; undefined if it fails
 * @throws if it cannot be started
 */
export function askProgram(program: string, prompt: string): Buffer | undefined {
  const libc = loadLibc();
  libc.signal(childSignal, null); // a parent that ignores it leaves no status to wait for
  const [readable, writable] = openPipe(libc);
  const pid = start(libc, [program, prompt], writable);
  libc.close(writable);
  const line = readLine(readable);
  const status = new Int32Array(1);
  call(() => libc.waitpid(pid, status, 0));
  if (status[0] !== 0) line.eraseAll();
  const answer = line.finish();
  return status[0] === 0 ? answer : undefined;
}

type Libc = ReturnType<typeof loadLibc>;

function loadLibc() {
  const { symbols } = dlopen("libc.so.6", {
    pipe2: { args: ["ptr", "i32"], returns: "i32" },
    close: { args: ["i32"], returns: "i32" },
    posix_spawnp: { args: ["ptr", "ptr", "ptr", "ptr", "ptr", "ptr"], returns: "i32" },
    posix_spawn_file_actions_init: { args: ["ptr"], returns: "i32" },
    posix_spawn_file_actions_adddup2: { args: ["ptr", "i32", "i32"], returns: "i32" },
    posix_spawnattr_init: { args: ["ptr"], returns: "i32" },
    posix_spawnattr_setflags: { args: ["ptr", "i32"], returns: "i32" },
    posix_spawnattr_setsigdefault: { args: ["ptr", "ptr"], returns: "i32" },
    sigfillset: { args: ["ptr"], returns: "i32" },
    waitpid: { args: ["i32", "ptr", "i32"], returns: "i32" },
    signal: { args: ["i32", "ptr"], returns: "ptr" },
    dlsym: { args: ["ptr", "ptr"], returns: "ptr" },
  });
  return symbols;
}

function openPipe(libc: Libc): [readable: number, writable: number] {
  const ends = new Int32Array(2);
  if (libc.pipe2(ends, closeOnExec) !== 0) throw new Error("There is no pipe.");
  const [readable = -1, writable = -1] = ends;
  return [readable, writable];
}

/** @returns the process ID */
function start(libc: Libc, words: readonly string[], standardOutput: number): number {
  const actions = Buffer.alloc(opaqueSize);
  libc.posix_spawn_file_actions_init(actions);
  libc.posix_spawn_file_actions_adddup2(actions, standardOutput, 1);
  const signals = Buffer.alloc(opaqueSize);
  libc.sigfillset(signals);
  const attributes = Buffer.alloc(opaqueSize);
  libc.posix_spawnattr_init(attributes);
  libc.posix_spawnattr_setsigdefault(attributes, signals); // bun ignores some
  libc.posix_spawnattr_setflags(attributes, defaultSignals);
  const texts = words.map(cString);
  const argv = new BigUint64Array([...texts.map((text) => BigInt(ptr(text))), 0n]);
  const environment = read.ptr(libc.dlsym(null, cString("environ")), 0);
  const pid = new Int32Array(1);
  const [file = null] = texts;
  if (libc.posix_spawnp(pid, file, actions, attributes, argv, environment) !== 0) {
    throw new Error("The program cannot be started.");
  }
  return pid[0] ?? 0;
}

function cString(text: string): Buffer {
  return Buffer.from(`${text}\0`);
}

/** Reads up to the end of a line: a program in the background may keep the pipe open. */
function readLine(descriptor: number): SecretLine {
  const line = new SecretLine();
  const buffer = Buffer.alloc(bufferLength);
  for (let isComplete = false; !isComplete; ) {
    const length = readInto(descriptor, buffer);
    for (const byte of buffer.subarray(0, length)) {
      isComplete ||= endsAnswer(byte);
      if (!isComplete) line.add(byte);
    }
    isComplete ||= length === 0;
    buffer.fill(0);
  }
  return line;
}
