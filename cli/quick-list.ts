/**
 * The program of a release for `ssh-add -l` and `ssh-add -L`. It runs under bun, calls the system
 * directly, and loads none of Node.js's modules, which takes a quarter of the time of ssh-add.
 *
 * It prints a list, or nothing: what is not as usual it leaves to ssh-add, which has the messages.
 */
import { dlopen, read } from "bun:ffi";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import { FrameReader } from "../protocol/framing.ts";
import { decodeReply, type Identity } from "../protocol/replies.ts";
import { frameRequest } from "../protocol/requests.ts";
import { encodeText } from "../protocol/text.ts";
import { describe, publicKeyLine, summary } from "./identities.ts";

/** The exit status that leaves the list to ssh-add; scripts/release/ssh-add.sh knows it. */
const leftStatus = 125;

/** The exit status after writing to a closed pipe: 128 + SIGPIPE. */
const brokenPipeStatus = 141;

const unixFamily = 1;
const streamType = 1;
/** The length of a `struct sockaddr_un`, whose path ends with a zero byte (unix(7)). */
const addressLength = 110;

const errors = { interrupted: 4, again: 11, brokenPipe: 32 };

const { symbols: libc } = dlopen("libc.so.6", {
  socket: { args: ["i32", "i32", "i32"], returns: "i32" },
  connect: { args: ["i32", "ptr", "u32"], returns: "i32" },
  read: { args: ["i32", "ptr", "usize"], returns: "i64_fast" },
  write: { args: ["i32", "ptr", "usize"], returns: "i64_fast" },
  isatty: { args: ["i32"], returns: "i32" },
  __errno_location: { args: [], returns: "ptr" },
});

main();

function main(): never {
  let identities: readonly Identity[];
  let output: Buffer;
  try {
    identities = requestIdentities(process.env.SSH_AUTH_SOCK ?? "");
    output = encodeText(linesOf(identities, process.argv.at(-1) === "-L").join(""));
  } catch {
    process.exit(leftStatus);
  }
  print(output);
  process.exit(identities.length === 0 ? 1 : 0);
}

/** The agent's identities. @throws if it does not list them */
function requestIdentities(path: string): readonly Identity[] {
  const address = Buffer.alloc(addressLength);
  new Uint16Array(address.buffer, address.byteOffset, 1)[0] = unixFamily;
  const pathLength = address.write(path, 2);
  if (path === "" || pathLength !== Buffer.byteLength(path) || pathLength + 2 >= addressLength) {
    throw new Error("The path of the socket is empty or too long.");
  }
  const descriptor = libc.socket(unixFamily, streamType, 0);
  check(libc.connect(descriptor, address, addressLength));
  const request = frameRequest({ type: "request-identities" });
  if (check(libc.write(descriptor, request, request.length)) < request.length) {
    throw new Error("The request was not sent.");
  }
  const reply = decodeReply(readMessage(descriptor));
  if (reply.type !== "identities") throw new Error("The agent refused.");
  return reply.identities;
}

function readMessage(descriptor: number): Buffer {
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

function linesOf(identities: readonly Identity[], asPublicKeys: boolean): string[] {
  if (identities.length === 0) return ["The agent has no identities.\n"];
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
function print(output: Buffer): void {
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
        Bun.sleepSync(2); // the pipe is full
        break;
      case errors.brokenPipe:
        process.exit(brokenPipeStatus);
        break;
      default:
        return;
    }
  }
}
