/**
 * The paths of the agent's socket, and how it is created.
 *
 * This runs before the agent serves, so it may use synchronous calls.
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
import { homeDirectory } from "../../openssh/home-directory.ts";
import { errorCode } from "../../openssh/strerror.ts";
import { errorText, StartError } from "./start-error.ts";

/** The paths of a socket. */
export interface SocketPaths {
  /** The socket's absolute path: an agent in the background changes its working directory. */
  readonly path: string;
  /** The path as the user gave it, for messages and SSH_AUTH_SOCK. */
  readonly givenPath: string;
  /** The absolute path, in the same folder, that the socket is bound to at first. */
  readonly bindPath: string;
  /** The absolute path of a folder that is made for this socket and removed with it. */
  readonly ownFolder: string | undefined;
}

/** The backlog of the listening socket. The kernel caps it, usually at 4,096. */
export const backlog = 65_535;

/** The longest path of a Unix socket on Linux, in bytes. */
const maxPathLength = 107;

/** Characters of HOST and of RANDOM in `s.HOST.agent.RANDOM`. */
const nameLength = 10;

/** The folder of the default socket, `~/.ssh/agent`; undefined for a user without a home. */
export function defaultFolder(): string | undefined {
  const home = homeDirectory(process.env);
  return home && join(home, ".ssh", "agent");
}

/**
 * The prefix of the names of this host's sockets: `s.HOST.`, where HOST is made of the SHA-512 hash of
 * the host's name as OpenSSH makes it. So hosts that share a home can tell their sockets apart, and
 * this agent and OpenSSH's can remove each other's stale sockets.
 */
export function hostPrefix(): string {
  return `s.${alphanumeric(createHash("sha512").update(hostname()).digest().subarray(0, nameLength))}.`;
}

/**
 * The default socket: `~/.ssh/agent/s.HOST.agent.RANDOM`. Makes the folders, with mode 0700.
 * @throws {StartError}
 */
export function homeSocket(): SocketPaths {
  const folder = defaultFolder();
  if (folder === undefined) throw new StartError("There is no home folder.", { code: "ENOENT" });
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    if ((statSync(folder).mode & 0o077) !== 0) chmodSync(folder, 0o700);
  } catch (error) {
    throw folderError(folder, error);
  }
  return socketPaths(join(folder, `${hostPrefix()}agent.${alphanumeric(randomBytes(nameLength))}`));
}

/**
 * The socket of `-T`, as in OpenSSH before 10.1: `$TMPDIR/ssh-XXXXXXXXXX/agent.PPID`.
 * @param parent the number in the name
 */
export function temporarySocket(parent: number): SocketPaths {
  const folder = join(tmpdir(), `ssh-${alphanumeric(randomBytes(nameLength))}`);
  return { ...socketPaths(join(folder, `agent.${parent}`)), ownFolder: absolute(folder) };
}

function folderError(path: string, error: unknown): StartError {
  const sentence = `Cannot create the folder of the agent's socket: ${path}: ${errorText(error)}`;
  return new StartError(`${sentence}\nChoose another path with -a PATH, or with TMPDIR and -T.`, {
    code: errorCode(error),
  });
}

/** The paths of a socket at a given path, such as that of `-a`. */
export function socketPaths(givenPath: string): SocketPaths {
  const path = absolute(givenPath);
  return { path, givenPath, bindPath: temporaryNameBeside(path), ownFolder: undefined };
}

// Not `join`: it drops `link/..` without following the link.

function absolute(path: string): string {
  return isAbsolute(path) ? path : `${process.cwd()}/${path}`;
}

function temporaryNameBeside(path: string): string {
  return `${dirname(path)}/.${alphanumeric(randomBytes(4))}`;
}

/**
 * Listens at the first candidate that works. When the disk is full, or another resource is used up, it
 * fails at once: the user should know.
 * @param onTry called before anything is created at a candidate's paths
 * @throws {StartError} of the first candidate
 */
export async function listenAtFirst(
  server: Server,
  candidates: readonly (() => SocketPaths)[],
  onTry: (paths: SocketPaths) => void,
): Promise<SocketPaths> {
  let firstError: unknown;
  for (const candidate of candidates) {
    try {
      const paths = candidate();
      onTry(paths);
      await listenAt(server, paths);
      return paths;
    } catch (error) {
      firstError ??= error;
      if (!(error instanceof StartError) || isOutOfResources(error.code)) break;
    }
  }
  throw firstError;
}

function isOutOfResources(code: unknown): boolean {
  return ["ENOSPC", "EDQUOT", "EMFILE", "ENFILE", "ENOMEM", "EIO"].some((each) => each === code);
}

/**
 * Makes a server listen at a path, with mode 0600.
 *
 * The socket is bound to `bindPath` and then linked to `path`, because Node.js unlinks the bound path
 * when a server closes, and this server may be closed while clients wait. The link also fails if the
 * name is taken, and publishes the socket only once its mode is right.
 * @throws {StartError} whose message ends in a carriage return, as OpenSSH's does
 */
export async function listenAt(server: Server, paths: SocketPaths): Promise<void> {
  const { path, givenPath, bindPath, ownFolder } = paths;
  // The path for bind(2) is the given one: the absolute path may be too long.
  const givenBindPath = `${dirname(givenPath)}/${basename(bindPath)}`;
  if (ownFolder !== undefined) makeOwnFolder(ownFolder);
  try {
    if (Math.max(Buffer.byteLength(givenPath), Buffer.byteLength(givenBindPath)) > maxPathLength) {
      const sentence = `unix_listener: path "${givenPath}" too long for Unix domain socket\r`;
      throw new StartError(sentence, { code: "ENAMETOOLONG" });
    }
    try {
      await bind(server, givenBindPath);
      renameNoReplace(bindPath, path);
    } catch (error) {
      const why = `cannot bind to path ${givenPath}: ${describeBindError(error, path)}`;
      throw new StartError(`unix_listener: ${why}\r`, { code: errorCode(error) });
    }
  } catch (error) {
    server.close();
    if (ownFolder !== undefined) removeSocket(paths);
    throw error;
  }
}

function makeOwnFolder(folder: string): void {
  try {
    mkdirSync(folder, { mode: 0o700 });
  } catch (error) {
    throw folderError(dirname(folder), error);
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

/** Removes a socket and its own folder, if they exist. */
export function removeSocket({ path, bindPath, ownFolder }: SocketPaths): void {
  for (const each of [bindPath, path]) unlinkIfExists(each);
  try {
    if (ownFolder !== undefined) rmdirSync(ownFolder);
  } catch {
    // Another program has put a file there, or the folder is gone.
  }
}

function unlinkIfExists(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // It does not exist, or cannot be removed.
  }
}

function renameNoReplace(from: string, to: string): void {
  try {
    linkSync(from, to);
    unlinkSync(from);
  } catch (error) {
    if (errorCode(error) === "EEXIST" || exists(to)) {
      unlinkSync(from);
      throw error;
    }
    renameSync(from, to); // for file systems without hard links
  }
}

function exists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined;
}

function describeBindError(error: unknown, path: string): string {
  switch (errorCode(error)) {
    case "EEXIST":
      return "Address already in use";
    // Node.js reports EACCES also for a missing folder.
    case "EACCES":
      return exists(dirname(path)) ? "Permission denied" : "No such file or directory";
    default:
      return errorText(error);
  }
}

const alphabet = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/** One letter or digit for each byte. */
function alphanumeric(bytes: Buffer): string {
  return Array.from(bytes, (byte) => alphabet[byte % alphabet.length]).join("");
}
