/** Sockets that agents left behind because they were killed, and that nobody listens at any more. */
import { lstat, readdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";

/**
 * Milliseconds between two looks at a socket. An agent that is just starting refuses connections for a
 * moment too, between giving its socket a name and listening there.
 */
const secondLook = 100;

/**
 * Removes the sockets in a folder that refuse connections, twice and some time apart. What is no
 * socket stays, and so does a socket that somebody else replaces meanwhile.
 * @param prefix what the names of the sockets begin with; "" for all
 * @returns the paths that it removed
 * @throws the system's error when the folder cannot be read; one that is not there is no error
 */
export async function removeStaleSockets(folder: string, prefix: string): Promise<string[]> {
  const suspects: { readonly path: string; readonly inode: number }[] = [];
  for (const path of await socketsIn(folder, prefix)) {
    const inode = await inodeOf(path);
    if (inode !== undefined && (await refusesConnections(path))) suspects.push({ path, inode });
  }
  if (suspects.length === 0) return [];
  await new Promise((resolve) => setTimeout(resolve, secondLook));
  const removed: string[] = [];
  for (const { path, inode } of suspects) {
    if (!(await refusesConnections(path)) || (await inodeOf(path)) !== inode) continue;
    await unlink(path).then(
      () => removed.push(path),
      // Somebody else was faster, or may and we may not: nothing of ours to tell.
      () => {},
    );
  }
  return removed;
}

async function socketsIn(folder: string, prefix: string): Promise<string[]> {
  try {
    const entries = await readdir(folder, { withFileTypes: true });
    const sockets = entries.filter((entry) => entry.isSocket() && entry.name.startsWith(prefix));
    return sockets.map(({ name }) => join(folder, name));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}

async function inodeOf(path: string): Promise<number | undefined> {
  return lstat(path).then(
    (found) => found.ino,
    () => undefined,
  );
}

/** Whether nobody listens; a busy agent, or one that we may not connect to, does. */
export function refusesConnections(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(false);
    });
    socket.on("error", (error) => resolve("code" in error && error.code === "ECONNREFUSED"));
  });
}
