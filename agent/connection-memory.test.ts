import { connect, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { eventually } from "../fixtures/eventually.ts";
import { processorTime, residentMemory } from "../fixtures/processes.ts";
import { sshAgent } from "../fixtures/programs.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { AgentClient } from "../protocol/client.ts";
import { FrameReader, frame } from "../protocol/framing.ts";
import { encodePublicKey } from "../protocol/public-key.ts";
import { verifySignature } from "../protocol/verification.ts";
import { ConnectionMemory, type MemoryHolder } from "./connection-memory.ts";
import { generateKey, startAgent as startInProcess, TestClock } from "./test-agent.ts";

const megabyte = 1024 * 1024;

/** Resident memory, in bytes. */
const memoryOf = (pid: number) => 1024 * residentMemory(pid);

/** Opens connections to an agent, each of which sends some bytes and reads nothing. */
async function crowd(
  { socket: path, pid }: { socket: string; pid: number },
  count: number,
  bytes: Buffer,
): Promise<Socket[]> {
  const sockets: Socket[] = [];
  for (let at = 0; at < count; at++) {
    const socket = connect(path);
    sockets.push(socket.on("error", () => {}));
    await new Promise((resolve) => socket.once("connect", resolve).once("close", resolve));
    socket.pause().write(bytes);
  }
  // Until the agent has read what it takes of them: meanwhile it closes the connections that it has not
  // heard of for longest, which may be anybody's.
  await eventually(async () => {
    const before = processorTime(pid);
    await sleep(300);
    return processorTime(pid) === before;
  });
  return sockets;
}

/** An agent, a client of it, and the agent's resident memory before other clients connect. */
async function startQuiet(t: ExecutionContext, keys: number) {
  const { socket, pid } = await startAgent(makeWorkspace(t), { program: sshAgent });
  const client = await AgentClient.connect(socket);
  t.teardown(() => client.close());
  for (let at = 0; at < keys; at++) {
    await client.addIdentity(generateKey("ed25519"), "k".repeat(1000));
  }
  const key = generateKey("ed25519");
  const blob = encodePublicKey(key.publicKey);
  await client.addIdentity(key, "own");
  /** Signs `length` bytes; resolves with whether the signature verifies. */
  const sign = async (length: number) => {
    const data = Buffer.alloc(length, 5);
    return verifySignature(key.publicKey, await client.sign(blob, data, 0), data);
  };
  return { socket, pid, client, sign, baseline: memoryOf(pid) };
}

test.serial("unfinished requests hold little memory and don't block long requests", async (t) => {
  const agent = await startQuiet(t, 0);
  const { pid, client, sign, baseline } = agent;
  const most = frame(Buffer.alloc(256 * 1024, 1)).subarray(0, 250 * 1024);
  const sockets = await crowd(agent, 1000, most);
  t.is((await client.identities()).length, 1);
  t.true(await sign(100));
  t.true(await sign(200_000));
  t.true(memoryOf(pid) < baseline + 150 * megabyte, `${memoryOf(pid)}`);
  for (const other of sockets) other.destroy();
  t.true(
    await eventually(() => memoryOf(pid) < baseline + 40 * megabyte),
    `${memoryOf(pid)}, baseline ${baseline}`,
  );
  t.true(await sign(200_000));
});

test.serial(
  "unread replies hold little memory and don't block other clients' replies",
  async (t) => {
    const agent = await startQuiet(t, 200);
    const { pid, client, sign, baseline } = agent;
    const lists = Buffer.concat(Array.from({ length: 20_000 }, () => frame(Buffer.of(11))));
    const sockets = await crowd(agent, 500, lists);
    t.true(await sign(100));
    t.is((await client.identities()).length, 201);
    t.true(memoryOf(pid) < baseline + 200 * megabyte, `${memoryOf(pid)}`);
    for (const other of sockets) other.destroy();
    t.true(
      await eventually(() => memoryOf(pid) < baseline + 40 * megabyte),
      `${memoryOf(pid)}, baseline ${baseline}`,
    );
    t.is((await client.identities()).length, 201);
  },
);

test.serial(
  "many clients that send long requests and read long lists at once are all answered",
  async (t) => {
    const { socket, sign } = await startQuiet(t, 200);
    t.true(await sign(1));
    const clients = await Promise.all(
      Array.from({ length: 150 }, () => AgentClient.connect(socket)),
    );
    const long = Buffer.alloc(250_000, 3);
    const answers = await Promise.all(
      clients.map(async (client) => {
        const [identity] = await client.identities();
        return (await client.sign(identity?.keyBlob ?? long, long, 0)).length > 64;
      }),
    );
    for (const client of clients) client.close();
    t.is(answers.filter(Boolean).length, 150);
  },
);

test("a client that sends all requests before it reads gets all replies", async (t) => {
  const { connectRaw } = await startInProcess(t);
  const socket = (await connectRaw()).pause();
  const count = 20_000;
  socket.write(Buffer.concat(Array.from({ length: count }, () => frame(Buffer.of(11)))));
  await sleep(200); // for the agent to read on, or to stop reading: nothing tells which
  const frames = new FrameReader();
  let received = 0;
  await new Promise<void>((resolve) => {
    socket.on("data", (chunk: Buffer) => {
      received += frames.push(chunk).length;
      if (received === count) resolve();
    });
    socket.on("close", resolve).resume();
  });
  t.is(received, count);
});

test.serial("memory for locking and unlocking is returned to the system", async (t) => {
  const { pid, client, baseline } = await startQuiet(t, 0);
  for (let round = 0; round < 10; round++) {
    await client.lock(Buffer.from("lock"));
    await client.unlock(Buffer.from("lock"));
  }
  t.true(
    await eventually(() => memoryOf(pid) < baseline + 40 * megabyte),
    `${memoryOf(pid)}, baseline ${baseline}`,
  );
});

test("requests queued behind a pending one are answered in order, however long", async (t) => {
  const asked: number[] = [];
  const ask = async () => {
    asked.push(performance.now());
    await sleep(5);
    return true;
  };
  const client = await (await startInProcess(t, { prompter: { confirm: ask } })).connect();
  const key = generateKey("ed25519");
  await client.addIdentity(key, "confirmed", [{ type: "confirm" }]);
  const blob = encodePublicKey(key.publicKey);
  const lengths = Array.from({ length: 30 }, (_, at) => (at % 3 === 0 ? 100_000 : 50 * at));
  const order: number[] = [];
  await Promise.all(
    lengths.map(async (length, at) => {
      const data = Buffer.alloc(length, at);
      t.true(verifySignature(key.publicKey, await client.sign(blob, data, 0), data));
      order.push(at);
    }),
  );
  t.is(asked.length, lengths.length);
  t.deepEqual(order, [...lengths.keys()]);
});

/** A connection that records what is called. */
function makeHolder(memory: ConnectionMemory) {
  const events: string[] = [];
  const holder: MemoryHolder = {
    resume: () => events.push("resumed"),
    end: () => {
      events.push("ended");
      memory.leave(holder);
    },
  };
  return { holder, events };
}

test("slots are granted in order, and a stalled connection loses its slot to others", (t) => {
  const clock = new TestClock();
  const memory = new ConnectionMemory(clock);
  const all = Array.from({ length: 200 }, () => makeHolder(memory));
  const withSlot = all.filter(({ holder }) => memory.acquireSlot(holder));
  const waiting = all.filter((one) => !withSlot.includes(one));
  t.true(withSlot.length > 1 && waiting.length > withSlot.length);
  for (const { holder } of withSlot) t.true(memory.acquireSlot(holder));
  memory.releaseSlot((withSlot[0] as (typeof all)[0]).holder);
  t.deepEqual(waiting[0]?.events, ["resumed"]);
  t.deepEqual(waiting[1]?.events, []);
  const [, mover] = withSlot;
  clock.pass(1000);
  if (mover !== undefined) memory.update(mover.holder, 100_000);
  clock.pass(1000);
  t.deepEqual(mover?.events, []);
  for (const { events } of withSlot.slice(2)) t.deepEqual(events, ["ended"]);
  t.deepEqual(waiting[1]?.events, ["resumed"]);
  for (let round = 0; round < 10; round++) clock.pass(1000);
  // No connection waits, so none loses its slot.
  t.is(clock.waits.length, 0);
  t.deepEqual(all.at(-1)?.events, ["resumed"]);
});

test("above the total limit, the connections that were idle longest are closed", (t) => {
  const memory = new ConnectionMemory(new TestClock());
  const all = Array.from({ length: 300 }, () => makeHolder(memory));
  const [first] = all;
  for (const { holder } of all) {
    memory.update(holder, 256 * 1024);
    if (first !== undefined) memory.update(first.holder, 256 * 1024);
  }
  const ended = all.map(({ events }) => events.includes("ended"));
  t.is(ended.filter((has) => !has).length, 128);
  t.false(ended[0]);
  t.deepEqual(
    ended.slice(1, 173),
    Array.from({ length: 172 }, () => true),
  );
  for (const { holder } of all) memory.leave(holder);
  const other = makeHolder(memory);
  memory.update(other.holder, 1024 * 1024);
  t.deepEqual(other.events, []);
});
