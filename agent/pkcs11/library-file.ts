/**
 * Checks that a library may be loaded from its path: only root and this user can have put it there,
 * or can replace it before it is loaded.
 */
import { lstatSync, type Stats } from "node:fs";
import { lstat } from "node:fs/promises";
import { dirname } from "node:path";
import { Failure } from "../../protocol/failure.ts";
import { shellWord } from "../host/environment.ts";

/** A library's file, or a folder on its path. */
export interface Place {
  readonly path: string;
  readonly kind: "file" | "folder" | "fifo" | "socket" | "device" | "symbolic link";
  readonly uid: number;
  readonly mode: number;
}

const groupOrOthersWrite = 0o022;
const sticky = 0o1000;

/**
 * Checks a library's file and every folder above it, up to the root. Nothing is opened: opening a
 * fifo or a device may block.
 * @param path a canonical path
 * @throws {Failure} no-such-file, provider-not-allowed, not-a-pkcs11-module
 */
export async function checkLibraryFile(path: string): Promise<void> {
  const paths = pathsTo(path);
  throwFault(
    path,
    paths,
    await Promise.all(paths.map((each) => lstat(each).catch(() => undefined))),
  );
}

/**
 * The same, synchronously, for the process that loads the library.
 * @returns the file's device and inode, by which a replacement is detected
 * @throws {Failure} no-such-file, provider-not-allowed, not-a-pkcs11-module
 */
export function checkLibraryFileSync(path: string): string {
  const paths = pathsTo(path);
  const found = paths.map((each) => lstatSync(each, { throwIfNoEntry: false }));
  throwFault(path, paths, found);
  return `${found[0]?.dev}:${found[0]?.ino}`;
}

/** The failure of a library whose file was replaced while it was being loaded. */
export function exchangedLibrary(path: string): Failure {
  const sentence = `The library ${path} was replaced while it was being loaded.`;
  return new Failure("provider-not-allowed", sentence, "Try again.");
}

/**
 * The fault of a library's location, by OpenSSH's rule for files that it trusts, except for folders
 * with the sticky bit, such as /tmp: they may be writable, since others cannot remove or replace
 * files in them that are not theirs. The library's own folder must not be one, because a library
 * loads others from beside it.
 * @param places the file, its folder, and so on up to the root
 * @param user the user ID of the agent
 */
export function libraryFault(
  library: string,
  places: readonly Place[],
  user: number,
): Failure | undefined {
  for (const [height, place] of places.entries()) {
    const isFile = height === 0;
    if (place.kind !== (isFile ? "file" : "folder")) {
      const sentence = `${place.path} is a ${place.kind}, not a ${isFile ? "library" : "folder"}.`;
      return new Failure("not-a-pkcs11-module", sentence);
    }
    const name = isFile ? `library ${library}` : `folder ${place.path} of the library ${library}`;
    if (place.uid !== 0 && place.uid !== user) return ofAnother(name, place);
    const isSticky = height > 1 && (place.mode & sticky) !== 0;
    if ((place.mode & groupOrOthersWrite) !== 0 && !isSticky) return writable(name, place, user);
  }
  return undefined;
}

function ofAnother(name: string, { path, uid }: Place): Failure {
  const sentence = `The ${name} belongs to user ${uid}, neither to root nor to you.`;
  const hint = `Give it to root if you trust it: sudo chown root ${shellWord(path)}`;
  return new Failure("provider-not-allowed", sentence, hint);
}

function writable(name: string, { path, uid, mode }: Place, user: number): Failure {
  const sentence = `Others may write to the ${name}.`;
  const command = `${uid === user ? "" : "sudo "}chmod go-w ${shellWord(path)}`;
  const hint =
    (mode & sticky) === 0
      ? `Have only its owner write to it: ${command}`
      : "Put the library into a folder that only root or you may write to.";
  return new Failure("provider-not-allowed", sentence, hint);
}

function throwFault(
  library: string,
  paths: readonly string[],
  found: readonly (Stats | undefined)[],
): void {
  const places = paths.map((path, height) => {
    const status = found[height];
    if (status !== undefined)
      return { path, kind: kindOf(status), uid: status.uid, mode: status.mode };
    throw new Failure("no-such-file", `There is no file ${JSON.stringify(library)} any more.`);
  });
  const fault = libraryFault(library, places, process.geteuid?.() ?? 0);
  if (fault !== undefined) throw fault;
}

/** A path and the folders above it, up to the root. */
function pathsTo(path: string): string[] {
  const above = dirname(path);
  return above === path ? [path] : [path, ...pathsTo(above)];
}

function kindOf(status: Stats): Place["kind"] {
  if (status.isFile()) return "file";
  if (status.isDirectory()) return "folder";
  if (status.isFIFO()) return "fifo";
  if (status.isSocket()) return "socket";
  return status.isSymbolicLink() ? "symbolic link" : "device";
}
