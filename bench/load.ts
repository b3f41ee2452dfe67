/**
 * The load generator: it requests signatures from an agent, each as soon as the last one has arrived.
 *
 * It shares the machine's cores with the agent, so it does little: every connection writes the same
 * bytes each time, and checks only the length and the message number of the replies. It reads a
 * `LoadJob` as JSON from standard input and writes a `LoadResult` to standard output.
 */
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { performance } from "node:perf_hooks";

export interface LoadJob {
  readonly socket: string;
  /** A sign request with its length field, in base64. */
  readonly request: string;
  readonly connections: number;
  /** The duration, after a first request on each connection, which is not counted. */
  readonly milliseconds: number;
}

/** Times are in milliseconds. */
export interface LoadResult {
  readonly latencies: readonly number[];
  /** From the first request to the last reply. */
  readonly elapsed: number;
  /** The last reply, with its length field, in base64. */
  readonly reply: string;
}

const signatureReply = 14;

const job = JSON.parse(readFileSync(0, "utf8")) as LoadJob;
const request = Buffer.from(job.request, "base64");
const latencies: number[] = [];
let lastReply: Buffer = Buffer.alloc(0);

/** Opens a connection and resolves after its first signature. */
function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(job.socket);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("The agent closed the connection.")));
    onReplies(socket, () => resolve(socket));
    socket.once("connect", () => socket.write(request));
  });
}

/** Calls `callback` for each signature. */
function onReplies(socket: Socket, callback: () => void): void {
  let held: Buffer | undefined;
  socket.removeAllListeners("data");
  socket.on("data", (chunk: Buffer) => {
    const bytes = held === undefined ? chunk : Buffer.concat([held, chunk]);
    if (bytes.length < 5 || bytes.length < 4 + bytes.readUInt32BE(0)) {
      held = bytes;
      return;
    }
    held = undefined;
    if (bytes[4] !== signatureReply || bytes.length !== 4 + bytes.readUInt32BE(0)) {
      throw new Error(`The agent answered ${bytes[4]}, not with one signature.`);
    }
    lastReply = bytes;
    callback();
  });
}

/** Signs on one connection until the time `end`. */
function sign(socket: Socket, end: number): Promise<void> {
  return new Promise((resolve) => {
    let start = performance.now();
    onReplies(socket, () => {
      const now = performance.now();
      latencies.push(now - start);
      if (now >= end) {
        resolve();
        return;
      }
      start = now;
      socket.write(request);
    });
    socket.write(request);
  });
}

async function main(): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: job.connections }, open));
  const start = performance.now();
  await Promise.all(sockets.map((socket) => sign(socket, start + job.milliseconds)));
  const elapsed = performance.now() - start;
  for (const socket of sockets) socket.removeAllListeners("close").destroy();
  const result: LoadResult = { latencies, elapsed, reply: lastReply.toString("base64") };
  process.stdout.write(JSON.stringify(result));
}

void main();
