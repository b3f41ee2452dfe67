import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { eventually } from "../fixtures/eventually.ts";
import { sshAgent } from "../fixtures/programs.ts";
import { keysOf, makeToken } from "../fixtures/softhsm.ts";
import { type AgentOptions, startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { AgentClient } from "../protocol/client.ts";
import { frame } from "../protocol/framing.ts";
import { decodeReply } from "../protocol/replies.ts";
import { encodeRequest } from "../protocol/requests.ts";
import { generateKey } from "./test-agent.ts";

/** Starts an agent with a limit of open files. */
function startWithLimit(workspace: Workspace, limit: number, options: AgentOptions = {}) {
  const script = `#!/bin/sh\nulimit -n ${limit}\nexec ${sshAgent} "$@"\n`;
  const program = workspace.write("few-descriptors", script, 0o700);
  return startAgent(workspace, { ...options, program });
}

/** A connection that has sent one request. */
interface Asking {
  readonly socket: Socket;
  /** "waiting", "answered", "cut off", or an error. */
  state: string;
  /** The number of identities in its answer. */
  identities: number;
}

function ask(path: string): Asking {
  const socket = connect(path);
  const asking: Asking = { socket, state: "waiting", identities: 0 };
  socket.once("data", (chunk) => {
    asking.state = "answered";
    const reply = decodeReply(chunk.subarray(4));
    if (reply.type === "identities") asking.identities = reply.identities.length;
  });
  socket.on("error", (error) => {
    asking.state = error.message;
  });
  socket.once("end", () => {
    if (asking.state === "waiting") asking.state = "cut off";
  });
  socket.write(frame(encodeRequest({ type: "request-identities" })));
  return asking;
}

/** Closes each answered connection until all clients are served. @returns how many were served at a time */
async function serveAll(t: ExecutionContext, clients: readonly Asking[]): Promise<number[]> {
  const answered = () => clients.filter(({ state }) => state === "answered");
  const batches: number[] = [];
  for (let served = 0; served < clients.length; ) {
    const before = served;
    t.true(await eventually(() => answered().length > before));
    served = answered().length;
    batches.push(served - before);
    for (const { socket } of answered()) socket.destroy();
  }
  return batches;
}

test("when descriptors run out, new clients wait and no connection is closed", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket: path } = await startWithLimit(workspace, 60);
  const clients = Array.from({ length: 150 }, () => ask(path));
  for (const served of await serveAll(t, clients)) t.true(served < 60);
  t.deepEqual([...new Set(clients.map(({ state }) => state))], ["answered"]);
});

test("a client that is accepted has room for its connections to upstream agents", async (t) => {
  const workspace = makeWorkspace(t);
  const upstream = await startAgent(workspace);
  const key = generateKey("ed25519");
  await (await AgentClient.connect(upstream.socket)).addIdentity(key, "theirs");
  const args = ["-O", `upstream=${upstream.socket}`];
  const { socket: path } = await startWithLimit(workspace, 60, { args });
  const clients = Array.from({ length: 100 }, () => ask(path));
  await serveAll(t, clients);
  t.deepEqual([...new Set(clients.map(({ state }) => state))], ["answered"]);
  t.deepEqual([...new Set(clients.map(({ identities }) => identities))], [1]);
});

test("a closed connection makes room for a waiting client", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket: path } = await startWithLimit(workspace, 60);
  const clients = Array.from({ length: 100 }, () => ask(path));
  const answered = () => clients.filter(({ state }) => state === "answered");
  let count = 0;
  const isFull = async () => {
    const before = count;
    await sleep(200);
    count = answered().length;
    return count > 0 && count === before;
  };
  t.true(await eventually(isFull));
  for (let again = 0; again < 3; again++) {
    const [first, ...others] = answered();
    first?.socket.destroy();
    if (first !== undefined) clients.splice(clients.indexOf(first), 1);
    t.true(await eventually(() => answered().length > others.length));
  }
  for (const { socket } of clients) socket.destroy();
});

test("an agent that has stopped accepting has descriptors left for cards", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256"]) });
  const { socket } = await startWithLimit(workspace, 60, { env: token.env });
  const client = await AgentClient.connect(socket);
  await client.identities();
  const others = Array.from({ length: 60 }, () => ask(socket));
  t.true(await eventually(() => others.some(({ state }) => state === "answered")));
  for (let again = 0; again < 3; again++) {
    await client.addSmartcardKey(token.library, Buffer.from(token.pin));
    await client.removeAllIdentities();
  }
  for (const other of others) other.socket.destroy();
  client.close();
});

test("none of 5,000 simultaneous clients is refused, however busy the agent is", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket: path, pid } = await startAgent(workspace, { program: sshAgent });
  // Fill the backlog while the agent is stopped.
  const waiting = Number(readFileSync("/proc/sys/net/core/somaxconn", "utf8"));
  process.kill(pid, "SIGSTOP");
  const clients = Array.from({ length: Math.min(waiting, 5000) }, () => ask(path));
  process.kill(pid, "SIGCONT");
  const settled = () => eventually(() => clients.every(({ state }) => state !== "waiting"));
  await settled();
  while (clients.length < 5000) clients.push(ask(path));
  await settled();
  t.deepEqual([...new Set(clients.map(({ state }) => state))], ["answered"]);
  for (const { socket } of clients) socket.destroy();
});

test("without descriptors, loading a library fails with the reason, and works later", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256"]) });
  const { socket, pid } = await startAgent(workspace, { program: sshAgent, env: token.env });
  const client = await AgentClient.connect(socket);
  const load = () => client.addSmartcardKey(token.library, Buffer.from(token.pin));
  await load(); // with the process that waits for a library
  const limit = (files: number | string) =>
    workspace.expect("prlimit", [`--pid=${pid}`, `--nofile=${files}:`]);
  await limit(20);
  t.true(await eventually(async () => (await load().catch(() => "refused")) === "refused"));
  const { code, sentence } = (await client.failureReason()) ?? {};
  t.is(code, "internal");
  t.is(sentence, "The agent could not start a process for the library.");
  await limit(1000);
  t.true(
    await eventually(() =>
      load().then(
        () => true,
        () => false,
      ),
    ),
  );
  client.close();
});
