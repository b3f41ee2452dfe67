import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { AgentClient, AgentRefusal } from "./client.ts";
import { encodeFailureReason } from "./extensions/failure-reason.ts";
import { Failure } from "./failure.ts";
import { FrameReader, frame } from "./framing.ts";
import { encodeReply, type Reply } from "./replies.ts";
import { decodeRequest, type Request } from "./requests.ts";

/** A client of an agent that replies with what `handle` returns. */
async function connectTo(
  t: ExecutionContext,
  handle: (request: Request, socket: Socket) => Reply | Buffer | undefined,
): Promise<AgentClient> {
  const folder = mkdtempSync(join(tmpdir(), "ca-"));
  const path = join(folder, "s");
  const server = createServer((socket) => {
    const frames = new FrameReader();
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      for (const message of frames.push(chunk)) {
        const reply = handle(decodeRequest(message), socket);
        if (reply === undefined) continue;
        socket.write(Buffer.isBuffer(reply) ? reply : frame(encodeReply(reply)));
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const client = await AgentClient.connect(path);
  t.teardown(() => {
    client.close();
    server.close();
    rmSync(folder, { recursive: true });
  });
  return client;
}

test("concurrent requests get their own replies", async (t) => {
  const client = await connectTo(t, (request) => {
    if (request.type !== "sign") return { type: "success" };
    return { type: "signature", signature: Buffer.from(request.data) };
  });
  const numbers = Array.from({ length: 50 }, (_, index) => Buffer.of(index));
  const signatures = numbers.map((data) => client.sign(Buffer.from("key"), data));
  const removed = client.removeAllIdentities();
  t.deepEqual(await Promise.all(signatures), numbers);
  await t.notThrowsAsync(removed);
});

test("a refusal is an AgentRefusal, and failureReason returns its reason", async (t) => {
  const reason = { request: 20, code: "pin-incorrect", sentence: "Wrong.", hint: "Try." } as const;
  const client = await connectTo(t, (request) => {
    if (request.type !== "extension") return { type: "failure" };
    if (request.name !== "failure-reason@cardagent.alt") return { type: "extension-failure" };
    return { type: "extension-response", name: request.name, body: encodeFailureReason(reason) };
  });
  const refusal = await t.throwsAsync(client.addSmartcardKey("/lib.so", Buffer.from("1234")), {
    instanceOf: AgentRefusal,
    message: "agent refused operation",
  });
  t.is(refusal?.request, 20);
  t.false(refusal?.isExtensionFailure);
  t.deepEqual(await client.failureReason(), reason);
  const extension = await t.throwsAsync(client.listProviders(), { instanceOf: AgentRefusal });
  t.true(extension?.isExtensionFailure);
});

test("failureReason is undefined for an agent that refuses it", async (t) => {
  const client = await connectTo(t, () => ({ type: "failure" }));
  t.is(await client.failureReason(), undefined);
});

test("a reply that does not answer the request is malformed", async (t) => {
  const client = await connectTo(t, () => ({ type: "success" }));
  await t.throwsAsync(client.identities(), { instanceOf: Failure, code: "malformed" });
});

test("a broken connection or an invalid reply rejects all pending requests", async (t) => {
  const closing = await connectTo(t, (_request, socket) => {
    socket.destroy();
    return undefined;
  });
  const pending = [closing.identities(), closing.query()];
  for (const request of pending) await t.throwsAsync(request);
  await t.throwsAsync(closing.identities());

  const web = await connectTo(t, () => Buffer.from("HTTP/1.1 400 Bad Request\r\n\r\n"));
  await t.throwsAsync(web.identities(), { instanceOf: Failure, code: "too-large" });
});

test("a request over 256 KiB is not sent", async (t) => {
  const client = await connectTo(t, () => ({ type: "success" }));
  const sent = client.sign(Buffer.from("key"), Buffer.alloc(256 * 1024));
  await t.throwsAsync(sent, { instanceOf: Failure, code: "too-large" });
  await t.notThrowsAsync(client.removeAllIdentities());
});

test("a failed connection is the system's error", async (t) => {
  await t.throwsAsync(AgentClient.connect("/nowhere/agent.sock"), { code: "ENOENT" });
  await t.throwsAsync(AgentClient.connect("65000"), { code: "ENOENT" });
  await t.throwsAsync(AgentClient.connect(""), { instanceOf: Failure, code: "no-such-file" });
});
