/**
 * The load: a program that asks an agent for signatures, as fast as the agent gives them.
 *
 * It shares the machine's cores with the agent, so it does as little as it can: every connection
 * writes the same bytes over and over and looks only at the length and the number of each reply.
 * It reads a `LoadJob` as JSON from standard input and writes a `LoadResult` to standard output.
 */
import { readFileSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { performance } from "node:perf_hooks";

/** What to ask for. Bytes are in base64. */
export interface LoadJob {
  readonly socket: string;
  /** A sign request with its length field. */
  readonly request: string;
  readonly connections: number;
  /** How long requests are made, after one on each connection that is not counted. */
  readonly milliseconds: number;
}

/** What came of it. Times are in milliseconds. */
export interface LoadResult {
  /** How long each request took. */
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

/** One connection; resolves with its socket when the agent has answered once. */
function open(): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect(job.socket);
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("The agent closed the connection.")));
    onReplies(socket, () => resolve(socket));
    socket.once("connect", () => socket.write(request));
  });
}

/** Calls `answered` for each reply that is a signature. */
function onReplies(socket: Socket, answered: () => void): void {
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
    answered();
  });
}

/** Signs on one connection until the time is over. */
function sign(socket: Socket, end: number): Promise<void> {
  return new Promise((resolve) => {
    let begun = performance.now();
    onReplies(socket, () => {
      const now = performance.now();
      latencies.push(now - begun);
      if (now >= end) {
        resolve();
        return;
      }
      begun = now;
      socket.write(request);
    });
    socket.write(request);
  });
}

async function main(): Promise<void> {
  const sockets = await Promise.all(Array.from({ length: job.connections }, open));
  const begun = performance.now();
  await Promise.all(sockets.map((socket) => sign(socket, begun + job.milliseconds)));
  const elapsed = performance.now() - begun;
  for (const socket of sockets) socket.removeAllListeners("close").destroy();
  const result: LoadResult = { latencies, elapsed, reply: lastReply.toString("base64") };
  process.stdout.write(JSON.stringify(result));
}

void main();
