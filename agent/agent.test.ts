import type { Socket } from "node:net";
import test from "ava";
import { FrameReader, frame } from "../protocol/framing.ts";
import { encodePublicKey } from "../protocol/public-key.ts";
import { decodeReply, type Reply } from "../protocol/replies.ts";
import { encodeRequest } from "../protocol/requests.ts";
import { verifySignature } from "../protocol/verification.ts";
import { systemClock } from "./host/clock.ts";
import {
  comments,
  generateKey,
  keyTypes,
  makeCa,
  reasonOf,
  refused,
  startAgent,
  TestClock,
} from "./test-agent.ts";

/** The replies that arrive on a socket, until there are `count` or it closes. */
function replies(socket: Socket, count: number): Promise<Reply[]> {
  return new Promise((resolve) => {
    const frames = new FrameReader();
    const received: Reply[] = [];
    socket.on("data", (chunk) => {
      for (const message of frames.push(chunk)) received.push(decodeReply(message));
      if (received.length >= count) resolve(received);
    });
    socket.on("close", () => resolve(received));
  });
}

test("keys of every type are listed in order, and sign", async (t) => {
  const client = await (await startAgent(t)).connect();
  const data = Buffer.from("to be signed");
  for (const type of keyTypes) {
    const key = generateKey(type);
    await client.addIdentity(key, type);
    const signature = await client.sign(encodePublicKey(key.publicKey), data, 4);
    t.true(verifySignature(key.publicKey, signature, data), type);
  }
  t.deepEqual(await comments(client), [...keyTypes]);
});

test("a key with its certificate is an identity beside the plain key", async (t) => {
  const client = await (await startAgent(t)).connect();
  const key = generateKey("ed25519");
  const certificate = makeCa().certify(key.publicKey);
  await client.addIdentity(key, "plain");
  await client.addIdentity({ ...key, certificate }, "certified");
  t.deepEqual(await comments(client), ["plain", "certified"]);
  const data = Buffer.from("data");
  t.true(verifySignature(key.publicKey, await client.sign(certificate, data), data));
});

test("a certificate that its CA did not sign is malformed", async (t) => {
  const client = await (await startAgent(t)).connect();
  const key = generateKey("ed25519");
  const certificate = makeCa().certify(key.publicKey);
  certificate.writeUInt8((certificate.at(-1) ?? 0) ^ 1, certificate.length - 1);
  await t.throwsAsync(client.addIdentity({ ...key, certificate }, ""), refused);
  t.is(await reasonOf(client), "malformed");
  t.deepEqual(await client.identities(), []);
});

test("a key that is added again keeps its position, and gets the new comment and constraints", async (t) => {
  const clock = new TestClock();
  const client = await (await startAgent(t, { clock })).connect();
  const [first, second] = [generateKey("ed25519"), generateKey("ed25519")];
  await client.addIdentity(first, "first", [{ type: "lifetime", seconds: 10 }]);
  await client.addIdentity(second, "second");
  await client.addIdentity(first, "first again");
  t.deepEqual(await comments(client), ["first again", "second"]);
  clock.pass(60_000);
  t.deepEqual(await comments(client), ["first again", "second"]);
});

test("lifetimes expire to the second, by one timer", async (t) => {
  const clock = new TestClock();
  const client = await (await startAgent(t, { clock })).connect();
  await client.addIdentity(generateKey("ed25519"), "90 s", [{ type: "lifetime", seconds: 90 }]);
  await client.addIdentity(generateKey("ed25519"), "2 s", [{ type: "lifetime", seconds: 2 }]);
  await client.addIdentity(generateKey("ed25519"), "for ever");
  t.is(clock.waits.length, 1);
  clock.pass(1_999);
  t.deepEqual(await comments(client), ["90 s", "2 s", "for ever"]);
  clock.pass(1);
  t.deepEqual(await comments(client), ["90 s", "for ever"]);
  clock.pass(88_000);
  t.deepEqual(await comments(client), ["for ever"]);
  t.is(clock.waits.length, 0);
});

test("an identity with a lifetime of 0 is removed before the next request", async (t) => {
  const client = await (await startAgent(t, { clock: systemClock })).connect();
  for (let round = 0; round < 50; round++) {
    await client.addIdentity(generateKey("ed25519"), "0 s", [{ type: "lifetime", seconds: 0 }]);
    t.deepEqual(await comments(client), []);
  }
});

test("the agent's default lifetime applies to requests without one", async (t) => {
  const clock = new TestClock();
  const agent = await startAgent(t, { clock, settings: { defaultLifetime: 5 } });
  const client = await agent.connect();
  await client.addIdentity(generateKey("ed25519"), "default");
  await client.addIdentity(generateKey("ed25519"), "own", [{ type: "lifetime", seconds: 9 }]);
  clock.pass(5_000);
  t.deepEqual(await comments(client), ["own"]);
});

test("removing takes one identity, or all of them", async (t) => {
  const client = await (await startAgent(t)).connect();
  const keys = [generateKey("ed25519"), generateKey("nistp256")];
  for (const key of keys) await client.addIdentity(key, key.publicKey.type);
  const blob = encodePublicKey((keys[0] ?? generateKey("rsa")).publicKey);
  await client.removeIdentity(blob);
  t.deepEqual(await comments(client), ["ecdsa"]);
  await t.throwsAsync(client.removeIdentity(blob), refused);
  t.is(await reasonOf(client), "key-not-found");
  await t.throwsAsync(client.sign(blob, Buffer.from("data")), refused);
  await client.removeAllIdentities();
  t.deepEqual(await client.identities(), []);
});

test("a request with an unsupported constraint is refused", async (t) => {
  const client = await (await startAgent(t)).connect();
  const key = generateKey("ed25519");
  for (const constraint of [
    { type: "sk-provider", provider: "/usr/lib/sk.so" } as const,
    { type: "associated-certs", certsOnly: false, certificates: [] } as const,
  ]) {
    await t.throwsAsync(client.addIdentity(key, "", [constraint]), refused);
    t.is(await reasonOf(client), "unsupported");
  }
  t.deepEqual(await client.identities(), []);
});

test("each use is confirmed; the prompt names the key and the requesting process", async (t) => {
  const questions: string[] = [];
  const answers = [true, false];
  const agent = await startAgent(t, {
    prompter: {
      confirm: (question) => {
        questions.push(question);
        return Promise.resolve(answers.shift() ?? false);
      },
    },
  });
  const client = await agent.connect();
  const key = generateKey("ed25519");
  const blob = encodePublicKey(key.publicKey);
  await client.addIdentity(key, "guarded", [{ type: "confirm" }]);
  await t.notThrowsAsync(client.sign(blob, Buffer.from("data")));
  await t.throwsAsync(client.sign(blob, Buffer.from("data")), refused);
  t.is(await reasonOf(client), "user-refused");
  t.regex(questions[0] ?? "", /^Allow use of key guarded\?\nKey fingerprint SHA256:/);
  t.regex(questions[0] ?? "", new RegExp(`pid ${process.pid}\\)`));
});

test("a key that is removed while it is being confirmed does not sign", async (t) => {
  let answer: (yes: boolean) => void = () => {};
  const asked = new Promise<void>((resolve) => {
    answer = () => resolve();
  });
  const agent = await startAgent(t, { prompter: { confirm: () => asked.then(() => true) } });
  const [client, other] = [await agent.connect(), await agent.connect()];
  const key = generateKey("ed25519");
  await client.addIdentity(key, "", [{ type: "confirm" }]);
  const signature = client.sign(encodePublicKey(key.publicKey), Buffer.from("data"));
  await other.removeAllIdentities();
  answer(true);
  await t.throwsAsync(signature, refused);
  t.is(await reasonOf(client), "key-not-found");
});

test("a malformed request in a valid frame fails, and the connection stays open", async (t) => {
  const socket = await (await startAgent(t)).connectRaw();
  const received = replies(socket, 4);
  const list = encodeRequest({ type: "request-identities" });
  for (const message of [Buffer.of(13), Buffer.of(99), Buffer.from([11, 0]), list]) {
    socket.write(frame(Buffer.from(message)));
  }
  const types = (await received).map(({ type }) => type);
  t.deepEqual(types, ["failure", "failure", "failure", "identities"]);
});

test("an invalid frame closes its connection, and no other", async (t) => {
  const agent = await startAgent(t);
  const witness = await agent.connect();
  await witness.identities();
  for (const bytes of ["00000000", "00040001", "ffffffff0b"]) {
    const socket = await agent.connectRaw();
    socket.write(Buffer.from(bytes, "hex"));
    t.deepEqual(await replies(socket, 1), []);
  }
  const cut = await agent.connectRaw();
  cut.end(Buffer.from("0000000a0b", "hex"));
  t.deepEqual(await replies(cut, 1), []);
  t.deepEqual(await witness.identities(), []);
});

test("pipelined requests are answered in order, also after the client's end of input", async (t) => {
  const agent = await startAgent(t);
  const socket = await agent.connectRaw();
  const key = generateKey("rsa");
  const keyBlob = encodePublicKey(key.publicKey);
  const received = replies(socket, 204);
  const send = (request: Parameters<typeof encodeRequest>[0]) =>
    socket.write(frame(encodeRequest(request)));
  send({ type: "add-identity", key, comment: "rsa", constraints: [] });
  for (let index = 0; index < 200; index++) {
    send({ type: "sign", keyBlob, data: Buffer.of(index), flags: 2 });
  }
  send({ type: "request-identities" });
  send({ type: "remove-all-identities" });
  send({ type: "request-identities" });
  socket.end();
  const all = await received;
  t.is(all.length, 204);
  t.is(all[0]?.type, "success");
  all.slice(1, 201).forEach((reply, index) => {
    const signature = reply.type === "signature" ? reply.signature : Buffer.alloc(0);
    t.true(verifySignature(key.publicKey, signature, Buffer.of(index)));
  });
  const lists = [all[201], all[203]].map((reply) =>
    reply?.type === "identities" ? reply.identities.length : undefined,
  );
  t.deepEqual(lists, [1, 0]);
});

test("another user is not served, root is", async (t) => {
  const stranger = await (await startAgent(t, { peerUid: 54321 })).connectRaw();
  stranger.write(frame(encodeRequest({ type: "request-identities" })));
  t.deepEqual(await replies(stranger, 1), []);
  const root = await (await startAgent(t, { peerUid: 0 })).connect();
  t.deepEqual(await root.identities(), []);
});

test("the list of SSH protocol 1 keys is empty", async (t) => {
  const client = await (await startAgent(t)).connect();
  await client.addIdentity(generateKey("ed25519"), "key");
  t.is((await client.request({ type: "request-rsa-identities" })).type, "rsa-identities");
  await client.removeAllRsaIdentities();
  t.deepEqual(await comments(client), ["key"]);
});

test("query names the extensions; an unknown one is a plain failure", async (t) => {
  const client = await (await startAgent(t)).connect();
  t.deepEqual(await client.query(), [
    "session-bind@openssh.com",
    "list-providers@cardagent.alt",
    "prepare-provider@cardagent.alt",
    "remove-all-providers@cardagent.alt",
    "add-certificate@cardagent.alt",
    "failure-reason@cardagent.alt",
    "list-upstreams@cardagent.alt",
    "list-renewals@cardagent.alt",
    "agent-path@cardagent.alt",
    "keep-ended-certificate@cardagent.alt",
    "only-keys@cardagent.alt",
  ]);
  const unknown = await t.throwsAsync(client.extension("nobody@knows.this"), refused);
  t.false(unknown?.isExtensionFailure);
  t.is(await reasonOf(client), "unsupported");
});

test("failure reasons are kept per connection", async (t) => {
  const agent = await startAgent(t);
  const [one, other] = [await agent.connect(), await agent.connect()];
  t.is(await one.failureReason(), undefined);
  await t.throwsAsync(one.removeIdentity(Buffer.from("nothing")), refused);
  const reason = await one.failureReason();
  t.is(reason?.request, 18);
  t.is(reason?.code, "key-not-found");
  t.is(await other.failureReason(), undefined);
});
