/** Stale sockets: those of agents that were killed. */
import { lstat, readdir, unlink } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";

/**
 * Milliseconds between two checks of a socket. An agent that is starting refuses connections too, for a
 * moment between bind and listen.
 */
const recheckDelay = 100;

/**
 * Removes the sockets in a folder that refuse connections in two checks. Other files stay, and so does
 * a socket that is replaced between the checks.
 * @param prefix of the sockets' names; "" for all sockets
 * @returns the paths that it removed
 * @throws the system error if the folder exists and cannot be read
 */
export async function removeStaleSockets(folder: string, prefix: string): Promise<string[]> {
  const suspects: { readonly path: string; readonly inode: number }[] = [];
  for (const path of await socketsIn(folder, prefix)) {
    const inode = await inodeOf(path);
    if (inode !== undefined && (await refusesConnections(path))) suspects.push({ path, inode });
  }
  if (suspects.length === 0) return [];
  await new Promise((resolve) => setTimeout(resolve, recheckDelay));
  const removed: string[] = [];
  for (const { path, inode } of suspects) {
    if (!(await refusesConnections(path)) || (await inodeOf(path)) !== inode) continue;
    await unlink(path).then(
      () => removed.push(path),
      () => {}, // removed by another agent, or not ours to remove
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

/** Whether no process listens at a socket. Other errors, as of a full backlog, count as listening. */
export function refusesConnections(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(false);
    });
    socket.on("error", (error) => resolve("code" in error && error.code === "ECONNREFUSED"));
  });
}
