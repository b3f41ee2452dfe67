import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { removeStaleSockets } from "./stale-sockets.ts";

function makeFolder(t: ExecutionContext): string {
  const folder = mkdtempSync(join(tmpdir(), "ca-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  return folder;
}

function listen(path: string): Promise<Server> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve) => server.listen(path, () => resolve(server)));
}

/** Makes a stale socket: it is renamed, so that closing its server does not remove it. */
async function makeStale(path: string): Promise<void> {
  const server = await listen(`${path}.bound`);
  renameSync(`${path}.bound`, path);
  await new Promise((resolve) => server.close(resolve));
}

test("a stale socket is removed, a live one is not", async (t) => {
  const folder = makeFolder(t);
  const stale = join(folder, "s.here.agent.a");
  const live = join(folder, "s.here.agent.b");
  await makeStale(stale);
  const server = await listen(live);
  t.teardown(() => server.close());
  t.deepEqual(await removeStaleSockets(folder, ""), [stale]);
  t.false(existsSync(stale));
  t.true(existsSync(live));
});

test("only sockets are removed, and only those with the prefix", async (t) => {
  const folder = makeFolder(t);
  for (const name of ["s.here.agent.a", "s.here.sshd.b", "s.hereabouts.agent.c", "other"]) {
    await makeStale(join(folder, name));
  }
  writeFileSync(join(folder, "s.here.file"), "");
  mkdirSync(join(folder, "s.here.folder"));
  const removed = await removeStaleSockets(folder, "s.here.");
  const expected = ["s.here.agent.a", "s.here.sshd.b"].map((name) => join(folder, name));
  t.deepEqual(removed.sort(), expected);
  const rest = await removeStaleSockets(folder, "");
  t.deepEqual(rest.sort(), [join(folder, "other"), join(folder, "s.hereabouts.agent.c")]);
  t.true(existsSync(join(folder, "s.here.file")));
});

test("a socket that is replaced between the two checks stays", async (t) => {
  const folder = makeFolder(t);
  const path = join(folder, "s.here.agent.a");
  await makeStale(path);
  const removing = removeStaleSockets(folder, "");
  rmSync(path);
  const server = await listen(path);
  t.teardown(() => server.close());
  t.deepEqual(await removing, []);
  t.true(existsSync(path));
});

test("a missing folder has no sockets; an unreadable one is an error", async (t) => {
  const folder = makeFolder(t);
  t.deepEqual(await removeStaleSockets(join(folder, "nowhere"), ""), []);
  writeFileSync(join(folder, "file"), "");
  await t.throwsAsync(removeStaleSockets(join(folder, "file"), ""), { code: "ENOTDIR" });
});
