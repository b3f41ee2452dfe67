/**
 * Where the agent listens, and how it comes to listen there.
 *
 * This runs before the agent serves anybody, so it may wait for the file system.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
} from "node:fs";
import type { Server } from "node:net";
import { hostname, tmpdir, userInfo } from "node:os";
import { dirname, isAbsolute, join } from "node:path";

/** A place for a socket. */
export interface SocketPlace {
  /** Where the socket is; from the root, because an agent in the background changes its folder. */
  readonly path: string;
  /** The path as users are told it: as they gave it. */
  readonly shown: string;
  /** A folder that was made for this socket alone, and goes with it. */
  readonly ownFolder: string | undefined;
}

/** The longest path that a Unix socket can have on Linux, in bytes. */
const longestPath = 107;

/** Letters of each of the two names in the name of a socket. */
const nameLength = 10;

/** The folder of the default place. */
export function homeFolder(): string {
  return join(process.env.HOME || userInfo().homedir, ".ssh", "agent");
}

/**
 * What the names of this host's sockets begin with: `s.HOST.`, where HOST is made of the SHA-512 hash
 * of the host's name as OpenSSH makes it. So hosts with a common home can tell their sockets apart,
 * and either agent those that the other one left behind.
 */
export function hostPrefix(): string {
  return `s.${nameOf(createHash("sha512").update(hostname()).digest().subarray(0, nameLength))}.`;
}

/**
 * The default place: `~/.ssh/agent/s.HOST.agent.RANDOM`. Folders are made with mode 0700.
 * @throws the system's error
 */
export function homeSocket(): SocketPlace {
  const folder = homeFolder();
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if ((statSync(folder).mode & 0o077) !== 0) chmodSync(folder, 0o700);
  const name = `${hostPrefix()}agent.${nameOf(randomBytes(nameLength))}`;
  return placeAt(join(folder, name), undefined);
}

/**
 * The place of `-T`, as in OpenSSH before 10.1: `$TMPDIR/ssh-XXXXXX/agent.PPID`.
 * @throws the system's error
 */
export function temporarySocket(): SocketPlace {
  const folder = mkdtempSync(join(tmpdir(), "ssh-"));
  return placeAt(join(folder, `agent.${process.ppid}`), folder);
}

/**
 * A place that was chosen already, such as that of `-a`.
 * @param ownFolder a folder that goes with the socket
 */
export function placeAt(path: string, ownFolder: string | undefined): SocketPlace {
  const absolute = isAbsolute(path) ? path : `${process.cwd()}/${path}`;
  return { path: absolute, shown: path, ownFolder };
}

/**
 * Makes a server listen at a place, with mode 0600, and calls `listening` in the same turn of the
 * event loop: nobody can have connected by then.
 *
 * A server removes the path that it was bound to when it is closed, and the process that binds may
 * not be the one that serves. So the socket is bound under another name and linked to its own, which
 * also refuses a name that is taken, and shows the socket only when its mode is right.
 * @param failed gets a line on why it cannot listen; as OpenSSH has it, a carriage return ends it
 */
export function listenAt(
  server: Server,
  place: SocketPlace,
  listening: () => void,
  failed: (sentence: string) => void,
): void {
  const { path, shown } = place;
  // Put together by hand: `join` would follow `..` without looking at what is before it.
  const passing = `${dirname(path)}/.${nameOf(randomBytes(4))}`;
  if (Math.max(Buffer.byteLength(path), Buffer.byteLength(passing)) > longestPath) {
    failed(`unix_listener: path "${shown}" too long for Unix domain socket\r`);
    return;
  }
  const fail = (error: unknown) => {
    failed(`unix_listener: cannot bind to path ${shown}: ${describeError(error, path)}\r`);
  };
  server.once("error", fail);
  const umask = process.umask(0o177);
  server.listen(passing, () => {
    server.off("error", fail);
    try {
      moveWithoutReplacing(passing, path);
    } catch (error) {
      fail(error);
      return;
    }
    listening();
  });
  process.umask(umask);
}

/** Removes a socket and the folder that was made for it; what is gone already is no error. */
export function removeSocket({ path, ownFolder }: SocketPlace): void {
  try {
    unlinkSync(path);
    if (ownFolder !== undefined) rmdirSync(ownFolder);
  } catch {
    // Somebody else removed it, or put something into the folder: theirs to keep.
  }
}

function moveWithoutReplacing(from: string, to: string): void {
  try {
    linkSync(from, to);
    unlinkSync(from);
  } catch (error) {
    const isTaken = codeOf(error) === "EEXIST" || exists(to);
    if (isTaken) unlinkSync(from);
    if (isTaken) throw error;
    // A file system without hard links.
    renameSync(from, to);
  }
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function describeError(error: unknown, path: string): string {
  switch (codeOf(error)) {
    case "EEXIST":
    case "EADDRINUSE":
      return "Address already in use";
    case "ENOTDIR":
      return "Not a directory";
    case "ELOOP":
      return "Too many levels of symbolic links";
    case "EROFS":
      return "Read-only file system";
    // Node.js says this also for a folder that is not there.
    case "EACCES":
      return exists(dirname(path)) ? "Permission denied" : "No such file or directory";
    default:
      return error instanceof Error ? error.message : "unknown error";
  }
}

function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/** Bytes as letters and digits, one for each. */
function nameOf(bytes: Buffer): string {
  return Array.from(bytes, (byte) => letters[byte % letters.length]).join("");
}
