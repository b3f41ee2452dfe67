/**
 * The program of a release for `ssh-add -l` and `ssh-add -L`. It runs under bun, calls the system
 * directly, and loads none of Node.js's modules, which takes a quarter of the time of ssh-add.
 *
 * If anything is not as usual, it prints nothing and leaves the list to ssh-add, which has the messages.
 */
import { dlopen, read } from "bun:ffi";
import { brokenPipeStatus } from "../openssh/exit.ts";
import { sleepSync } from "../openssh/sleep-sync.ts";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import { FrameReader } from "../protocol/framing.ts";
import { decodeReply, type Identity } from "../protocol/replies.ts";
import { frameRequest } from "../protocol/requests.ts";
import { encodeText } from "../protocol/text.ts";
import { Writer } from "../protocol/wire.ts";
import { describe, noIdentities, publicKeyLine, summary } from "./identities.ts";

const unixFamily = 1;
const streamType = 1;
const closeOnExec = 0o2000000;
/** The length of a `struct sockaddr_un`, whose path ends with a zero byte (unix(7)). */
const addressLength = 110;

const errors = { interrupted: 4, again: 11, brokenPipe: 32 };

type Libc = ReturnType<typeof loadLibc>;

main();

function main(): never {
  const option = process.argv.at(-1) ?? "";
  let libc: Libc;
  let identities: readonly Identity[];
  let output: Buffer;
  try {
    libc = loadLibc();
    const descriptor = requestIdentities(libc, process.env.SSH_AUTH_SOCK ?? "");
    // The first run of code is the slowest: it is done while the agent works.
    const keyBlob = new Writer().text("ssh-ed25519").string(new Uint8Array(32)).finish();
    linesOf(libc, [{ keyBlob, comment: "" }], option === "-L");
    identities = readIdentities(libc, descriptor);
    output = encodeText(linesOf(libc, identities, option === "-L").join(""));
  } catch {
    leaveToSshAdd(option);
  }
  print(libc, output);
  process.exit(identities.length === 0 ? 1 : 0);
}

/** Runs the ssh-add of Node.js, which is in the folder above. */
function leaveToSshAdd(option: string): never {
  const folder = process.execPath.replace(/[^/]*$/, "");
  const stdio = ["inherit", "inherit", "inherit"] as const;
  process.exit(Bun.spawnSync([`${folder}../ssh-add`, option], { stdio }).exitCode ?? 1);
}

/** Functions of the C library. @throws if bun may not make code to call them, as with little memory */
function loadLibc() {
  const { symbols } = dlopen("libc.so.6", {
    socket: { args: ["i32", "i32", "i32"], returns: "i32" },
    connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
    read: { args: ["i32", "ptr", "usize"], returns: "i64_fast" },
    write: { args: ["i32", "ptr", "usize"], returns: "i64_fast" },
    isatty: { args: ["i32"], returns: "i32" },
    __errno_location: { args: [], returns: "ptr" },
  });
  return symbols;
}

/** Asks an agent for its identities. @returns the connection. @throws if that fails */
function requestIdentities(libc: Libc, path: string): number {
  const address = Buffer.alloc(addressLength);
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = unixFamily;
  const pathLength = address.write(path, 2);
  if (path === "" || pathLength !== Buffer.byteLength(path) || pathLength + 2 >= addressLength) {
    throw new Error("The path of the socket is empty or too long.");
  }
  const descriptor = check(libc.socket(unixFamily, streamType | closeOnExec, 0));
  check(libc.connect(descriptor, address, addressLength));
  const request = frameRequest({ type: "request-identities" });
  if (check(libc.write(descriptor, request, request.length)) < request.length) {
    throw new Error("The request was not sent.");
  }
  return descriptor;
}

/** The agent's identities. @throws if it does not list them */
function readIdentities(libc: Libc, descriptor: number): readonly Identity[] {
  const reply = decodeReply(readMessage(libc, descriptor));
  if (reply.type !== "identities") throw new Error("The agent refused.");
  return reply.identities;
}

function readMessage(libc: Libc, descriptor: number): Buffer {
  const frames = new FrameReader();
  for (;;) {
    const chunk = Buffer.allocUnsafeSlow(64 * 1024);
    const length = check(libc.read(descriptor, chunk, chunk.length));
    if (length === 0) throw new Error("The agent closed the connection.");
    frames.add(chunk.subarray(0, length));
    const message = frames.next();
    if (message !== undefined) return message;
  }
}

/** The result of a system call. @throws if it has failed */
function check(result: number): number {
  if (result < 0) throw new Error("A system call has failed.");
  return result;
}

function linesOf(libc: Libc, identities: readonly Identity[], asPublicKeys: boolean): string[] {
  if (identities.length === 0) return [`${noIdentities}\n`];
  const display = libc.isatty(1) === 1 ? sanitizeForDisplay : (line: string) => line;
  return identities.flatMap((identity) => {
    const described = describe(identity.keyBlob);
    if (described === undefined) return [];
    const line = asPublicKeys
      ? publicKeyLine(described, identity)
      : summary(described, fingerprint(described.keyBlob), identity.comment);
    return [`${display(line)}\n`];
  });
}

/** Writes to standard output, as long as that is possible. */
function print(libc: Libc, output: Buffer): void {
  let rest = output;
  while (rest.length > 0) {
    const written = libc.write(1, rest, rest.length);
    if (written >= 0) {
      rest = rest.subarray(written);
      continue;
    }
    switch (read.i32(libc.__errno_location(), 0)) {
      case errors.interrupted:
        break;
      case errors.again:
        sleepSync(2); // the pipe is full
        break;
      case errors.brokenPipe:
        process.exit(brokenPipeStatus);
        break;
      default:
        return;
    }
  }
}
