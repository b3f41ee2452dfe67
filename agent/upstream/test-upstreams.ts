/** Upstream agents for tests. */
import { createServer, type Socket } from "node:net";
import { systemClock } from "../host/clock.ts";
import type { UpstreamOption } from "./upstream.ts";
import type { UpstreamLimits } from "./upstream-connection.ts";
import { Upstreams } from "./upstreams.ts";

/** The process of each upstream agent: none of the clients'. */
export const testPid = 1;

const ownUid = process.getuid?.() ?? 0;

/**
 * Makes upstream agents, which tests wait for by the machine's clock.
 * @param limits long by default: time is not to pass while a test is busy
 */
export function makeUpstreams(
  options: readonly UpstreamOption[] = [],
  limits: UpstreamLimits = { list: 20_000, sign: 20_000, other: 20_000 },
  log: (line: string) => void = () => {},
  uid = ownUid,
): Upstreams {
  const peerOf = () => ({ pid: testPid, uid });
  const processNameOf = () => Promise.resolve("test");
  return new Upstreams({
    options,
    limits,
    clock: systemClock,
    peerOf,
    processName: processNameOf,
    log,
  });
}

/** Serves a socket; each message gets an answer. @returns a function that ends it */
export async function serve(
  path: string,
  answer: (socket: Socket, message: Buffer) => void,
): Promise<() => Promise<void>> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    let pending = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      pending = Buffer.concat([pending, chunk]);
      while (pending.length >= 4 && pending.length >= 4 + pending.readUInt32BE(0)) {
        const end = 4 + pending.readUInt32BE(0);
        answer(socket, pending.subarray(4, end));
        pending = pending.subarray(end);
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return () =>
    new Promise((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    });
}
