/** Upstream agents for tests. */
import { createServer, type Socket } from "node:net";
import { extensionNames } from "../../protocol/extensions/names.ts";
import { frame } from "../../protocol/framing.ts";
import { encodeReply, type Reply } from "../../protocol/replies.ts";
import { decodeRequest, type Request } from "../../protocol/requests.ts";
import { type Clock, systemClock } from "../host/clock.ts";
import type { UpstreamOption } from "./upstream.ts";
import type { UpstreamLimits } from "./upstream-connection.ts";
import { Upstreams } from "./upstreams.ts";

/** The process of each upstream agent: none of the clients'. */
export const testPid = 1;

const ownUid = process.getuid?.() ?? 0;

/** Long limits: time is not to pass while a test is busy. */
export const longLimits: UpstreamLimits = {
  list: 20_000,
  details: 20_000,
  sign: 20_000,
  other: 20_000,
};

/** What a test may set. */
interface TestUpstreamParts {
  readonly limits?: UpstreamLimits | undefined;
  readonly log?: (line: string) => void;
  /** The user of the upstream agents. */
  readonly uid?: number | undefined;
  readonly clock?: Clock;
}

/** Makes upstream agents, which tests wait for by the machine's clock. */
export function makeUpstreams(
  options: readonly UpstreamOption[] = [],
  parts: TestUpstreamParts = {},
): Upstreams {
  const { limits = longLimits, log = () => {}, uid = ownUid, clock = systemClock } = parts;
  const peerOf = () => ({ pid: testPid, uid });
  const processName = () => Promise.resolve("test");
  return new Upstreams({ options, limits, clock, peerOf, processName, log });
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

/**
 * Serves the socket of an upstream with one key, which answers nothing but the path until it goes on.
 * @returns `held`, the types of the requests that wait for their answer
 */
export async function hangingUpstream(path: string, keyBlob: Buffer) {
  let hangs = true;
  const waiting: { readonly request: Request; readonly answer: () => void }[] = [];
  const stop = await serve(path, (socket, message) => {
    const request = decodeRequest(message);
    const reply = encodeReply(replyOf(request, keyBlob));
    const answer = () => void socket.write(frame(reply));
    const isPath = request.type === "extension" && request.name === extensionNames.agentPath;
    if (hangs && !isPath) waiting.push({ request, answer });
    else answer();
  });
  return {
    stop,
    held: () => waiting.map(({ request }) => request.type),
    hang: () => {
      hangs = true;
    },
    goOn: () => {
      hangs = false;
      for (const { answer } of waiting.splice(0)) answer();
    },
  };
}

function replyOf(request: Request, keyBlob: Buffer): Reply {
  switch (request.type) {
    case "request-identities":
      return { type: "identities", identities: [{ keyBlob, comment: "theirs" }] };
    case "sign":
      return { type: "signature", signature: Buffer.from("signed") };
    case "extension": {
      const { name } = request;
      return name === extensionNames.agentPath
        ? { type: "failure" }
        : { type: "extension-response", name, body: Buffer.alloc(0) };
    }
    default:
      return { type: "success" };
  }
}
