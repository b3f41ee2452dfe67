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
  renameSync,
  rmdirSync,
  statSync,
  unlinkSync,
} from "node:fs";
import type { Server } from "node:net";
import { hostname, tmpdir } from "node:os";
import { basename, dirname, isAbsolute, join } from "node:path";
import { homeFolder } from "../../openssh/home-folder.ts";
import { errorCode } from "../../openssh/strerror.ts";
import { StartError, systemWords } from "./start-error.ts";

/** A place for a socket. */
export interface SocketPlace {
  /** Where the socket is; from the root, because an agent in the background changes its folder. */
  readonly path: string;
  /** The path as users are told it: as they gave it. */
  readonly shown: string;
  /** Beside it, from the root: where the socket is until it has its mode. */
  readonly passing: string;
  /** A folder that is made for this socket alone, and goes with it; from the root. */
  readonly ownFolder: string | undefined;
}

/** Connections that may wait to be accepted. The system has a limit of its own, usually 4,096. */
export const backlog = 65_535;

/** The longest path that a Unix socket can have on Linux, in bytes. */
const maxPathLength = 107;

/** Letters of each of the two names in the name of a socket. */
const nameLength = 10;

/** The folder of the default place, `~/.ssh/agent`; undefined for a user without a home. */
export function defaultFolder(): string | undefined {
  const home = homeFolder(process.env);
  return home && join(home, ".ssh", "agent");
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
 * @throws {StartError}
 */
export function homeSocket(): SocketPlace {
  const folder = defaultFolder();
  if (folder === undefined) throw new StartError("There is no home folder.", { code: "ENOENT" });
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if ((statSync(folder).mode & 0o077) !== 0) chmodSync(folder, 0o700);
  } catch (error) {
    throw noFolder(folder, error);
  }
  return placeAt(join(folder, `${hostPrefix()}agent.${nameOf(randomBytes(nameLength))}`));
}

/**
 * The place of `-T`, as in OpenSSH before 10.1: `$TMPDIR/ssh-XXXXXXXXXX/agent.PPID`.
 * @param parent the number in the name
 */
export function temporarySocket(parent: number): SocketPlace {
  const folder = join(tmpdir(), `ssh-${nameOf(randomBytes(nameLength))}`);
  return { ...placeAt(join(folder, `agent.${parent}`)), ownFolder: absolute(folder) };
}

function noFolder(path: string, error: unknown): StartError {
  const sentence = `Cannot make a folder for the agent's socket: ${path}: ${systemWords(error)}`;
  return new StartError(`${sentence}\nChoose another place with -a PATH, or with TMPDIR and -T.`, {
    code: errorCode(error),
  });
}

/** A place that was chosen already, such as that of `-a`. */
export function placeAt(shown: string): SocketPlace {
  const path = absolute(shown);
  return { path, shown, passing: besides(path), ownFolder: undefined };
}

// Both put together by hand: `join` would follow `..` without looking at what is before it.

function absolute(path: string): string {
  return isAbsolute(path) ? path : `${process.cwd()}/${path}`;
}

function besides(path: string): string {
  return `${dirname(path)}/.${nameOf(randomBytes(4))}`;
}

/**
 * Listens at the first of some places that can be listened at. A full disk is no reason to go on to
 * the next: it is for the user to know.
 * @param trying is told of each place before anything is made there
 * @throws {StartError} of the first place
 */
export async function listenAtFirst(
  server: Server,
  places: readonly (() => SocketPlace)[],
  trying: (place: SocketPlace) => void,
): Promise<SocketPlace> {
  let first: unknown;
  for (const choose of places) {
    try {
      const place = choose();
      trying(place);
      await listenAt(server, place);
      return place;
    } catch (error) {
      first ??= error;
      if (!(error instanceof StartError) || isShortage(error.code)) break;
    }
  }
  throw first;
}

function isShortage(code: unknown): boolean {
  return ["ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EIO"].some((each) => each === code);
}

/**
 * Makes a server listen at a place, with mode 0600.
 *
 * A server removes the path that it was bound to when it is closed, and this one may be closed while
 * clients wait. So the socket is bound under another name and linked to its own, which also refuses a
 * name that is taken, and shows the socket only when its mode is right.
 * @throws {StartError} with a line on why it cannot listen; as OpenSSH has it, a carriage return ends it
 */
export async function listenAt(server: Server, place: SocketPlace): Promise<void> {
  // As it was given: from the root it may be too long for a socket.
  const { path, shown, passing, ownFolder } = place;
  const passingShown = `${dirname(shown)}/${basename(passing)}`;
  if (ownFolder !== undefined) makeOwnFolder(ownFolder);
  try {
    if (Math.max(Buffer.byteLength(shown), Buffer.byteLength(passingShown)) > maxPathLength) {
      const sentence = `unix_listener: path "${shown}" too long for Unix domain socket\r`;
      throw new StartError(sentence, { code: "ENAMETOOLONG" });
    }
    try {
      await bind(server, passingShown);
      moveWithoutReplacing(passing, path);
    } catch (error) {
      const why = `cannot bind to path ${shown}: ${describeError(error, path)}`;
      throw new StartError(`unix_listener: ${why}\r`, { code: errorCode(error) });
    }
  } catch (error) {
    server.close();
    if (ownFolder !== undefined) removeSocket(place);
    throw error;
  }
}

function makeOwnFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    throw noFolder(dirname(folder), error);
  }
}

function bind(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    const umask = process.umask(0o177);
    server.listen({ path, backlog }, () => {
      server.off("error", reject);
      resolve();
    });
    process.umask(umask);
  });
}

/** Removes a socket and the folder that was made for it; what is gone already is no error. */
export function removeSocket({ path, passing, ownFolder }: SocketPlace): void {
  for (const each of [passing, path]) unlinkIfThere(each);
  try {
    if (ownFolder !== undefined) rmdirSync(ownFolder);
  } catch {
    // Somebody put something into it: theirs to keep.
  }
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It is not there, or somebody else removed it.
  }
}

function moveWithoutReplacing(from: string, to: string): void {
  try {
    linkSync(from, to);
    unlinkSync(from);
  } catch (error) {
    const isTaken = errorCode(error) === "EEXIST" || exists(to);
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
  switch (errorCode(error)) {
    case "EEXIST":
      return "Address already in use";
    // Node.js says this also for a folder that is not there.
    case "EACCES":
      return exists(dirname(path)) ? "Permission denied" : "No such file or directory";
    default:
      return systemWords(error);
  }
}

const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/** Bytes as letters and digits, one for each. */
function nameOf(bytes: Buffer): string {
  return Array.from(bytes, (byte) => letters[byte % letters.length]).join("");
}
