import { symlinkSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import test, { type ExecutionContext } from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import type { AgentClient } from "../../protocol/client.ts";
import { encodeAgentPath } from "../../protocol/extensions/agent-path.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import { frame } from "../../protocol/framing.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { encodeReply } from "../../protocol/replies.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { bind, login, makeHost, origin } from "../policy/test-hosts.ts";
import {
  comments,
  generateKey,
  makeCa,
  reasonOf,
  refused,
  startAgent,
  type TestAgentOptions,
  TestClock,
} from "../test-agent.ts";
import { hangingUpstream, longLimits, makeUpstreams, serve, testPid } from "./test-upstreams.ts";
import { Upstream } from "./upstream.ts";

const data = Buffer.from("data");
const ownUid = process.getuid?.() ?? 0;
const ca = makeCa();
const someBlob = encodePublicKey(generateKey("ed25519").publicKey);

/** An agent behind another one, each with a client. */
async function withUpstream(t: ExecutionContext, options: TestAgentOptions = {}, confirm = false) {
  const behind = await startAgent(t);
  const front = await startAgent(t, { upstreams: [{ path: behind.path, confirm }], ...options });
  return {
    behind,
    front,
    /** A client of the upstream agent. */
    inner: await behind.connect(),
    client: await front.connect(),
  };
}

/** Adds a key to an agent. */
async function addKey(client: AgentClient, comment: string, type: "ed25519" | "rsa" = "ed25519") {
  const key = generateKey(type);
  await client.addIdentity(key, comment);
  return { key, blob: encodePublicKey(key.publicKey) };
}

const attached = (certificate: Buffer, comment = "") => ({
  certificate,
  comment,
  replace: true,
  constraints: [],
});

test("identities of upstream agents are listed after the agent's own, each once", async (t) => {
  const [first, second] = [await startAgent(t), await startAgent(t)];
  const upstreams = [first, second].map(({ path }) => ({ path, confirm: false }));
  const client = await (await startAgent(t, { upstreams })).connect();
  await addKey(await second.connect(), "second's");
  const { key } = await addKey(await first.connect(), "first's");
  await (await second.connect()).addIdentity(key, "second's copy");
  await addKey(client, "own");
  t.deepEqual(await comments(client), ["own", "first's", "second's"]);
});

test("an upstream agent signs with its keys, with the flags as they came", async (t) => {
  const { inner, client } = await withUpstream(t);
  const { key, blob } = await addKey(inner, "key", "rsa");
  for (const [flags, algorithm] of [
    [0, "ssh-rsa"],
    [2, "rsa-sha2-256"],
    [4, "rsa-sha2-512"],
  ] as const) {
    const signature = await client.sign(blob, data, flags);
    t.is(signature.subarray(4, 4 + algorithm.length).toString(), algorithm);
    t.true(verifySignature(key.publicKey, signature, data));
  }
  // A client that has the certificate in a file asks for it, whoever has the key.
  const certificate = ca.certify(key.publicKey);
  t.true(verifySignature(key.publicKey, await client.sign(certificate, data, 4), data));
});

test("keys go to this agent and are removed from whoever has them", async (t) => {
  const { inner, client } = await withUpstream(t);
  const { blob } = await addKey(inner, "upstream's");
  await addKey(client, "own");
  t.deepEqual(await comments(inner), ["upstream's"]);
  await client.removeIdentity(blob);
  t.deepEqual(await comments(inner), []);
  t.deepEqual(await comments(client), ["own"]);
  await t.throwsAsync(client.removeIdentity(blob), refused);
  t.is(await reasonOf(client), "key-not-found");
  await t.throwsAsync(client.sign(blob, data), refused);
  t.is(await reasonOf(client), "key-not-found");
  await addKey(inner, "another");
  await client.removeAllIdentities();
  t.deepEqual(await comments(client), []);
  t.deepEqual(await comments(inner), []);
});

test("a certificate over an upstream's key is signed by that key", async (t) => {
  const { behind, inner, client } = await withUpstream(t);
  const { key, blob } = await addKey(inner, "key");
  const certificate = ca.certify(key.publicKey, { serial: 1n });
  await client.addCertificate(attached(certificate));
  t.deepEqual(await comments(client), ["key", "key"]);
  t.deepEqual((await client.identities())[0]?.keyBlob, certificate);
  t.true(verifySignature(key.publicKey, await client.sign(certificate, data), data));
  t.deepEqual((await inner.identities()).length, 1);
  const renewed = ca.certify(key.publicKey, { serial: 2n, validBefore: 2_000_000_001n });
  await client.addCertificate(attached(renewed));
  const blobs = (await client.identities()).map(({ keyBlob }) => keyBlob);
  t.deepEqual(blobs, [renewed, blob]);
  // It is listed while the upstream lists the key.
  await inner.lock(Buffer.from("secret"));
  t.deepEqual(await comments(client), []);
  await t.throwsAsync(client.sign(renewed, data), refused);
  t.is(await reasonOf(client), "upstream-failed");
  const reason = await client.failureReason();
  t.regex(reason?.sentence ?? "", /refused: The agent is locked\.$/);
  t.is(reason?.hint, `With SSH_AUTH_SOCK=${behind.path}: Unlock the agent with: ssh-add -X`);
  await inner.unlock(Buffer.from("secret"));
  t.is((await client.identities()).length, 2);
  t.false(behind.log.some((line) => line.includes("fault")));
});

test("a certificate is narrowed by its own limits", async (t) => {
  const asked: string[] = [];
  const confirm = (question: string) => {
    asked.push(question);
    return Promise.resolve(asked.length > 1);
  };
  const { inner, client } = await withUpstream(t, { prompter: { confirm } });
  const { key, blob } = await addKey(inner, "key");
  const certificate = ca.certify(key.publicKey);
  await client.addCertificate({ ...attached(certificate), constraints: [{ type: "confirm" }] });
  await t.throwsAsync(client.sign(certificate, data), refused);
  t.is(await reasonOf(client), "user-refused");
  t.true(verifySignature(key.publicKey, await client.sign(certificate, data), data));
  t.true(verifySignature(key.publicKey, await client.sign(blob, data), data));
  t.is(asked.length, 2);
});

test("with confirm, each use of an upstream's key is confirmed here", async (t) => {
  const asked: string[] = [];
  const confirm = (question: string) => {
    asked.push(question);
    return Promise.resolve(false);
  };
  const { inner, client } = await withUpstream(t, { prompter: { confirm } }, true);
  const { key, blob } = await addKey(inner, "key");
  await client.addCertificate(attached(ca.certify(key.publicKey)));
  for (const wanted of [blob, ca.certify(key.publicKey)]) {
    await t.throwsAsync(client.sign(wanted, data), refused);
    t.is(await reasonOf(client), "user-refused");
  }
  t.is(asked.length, 2);
  t.regex(asked[0] ?? "", /^Allow use of key key\?/);
});

test("a certificate of nobody's key is refused", async (t) => {
  const { client } = await withUpstream(t);
  const certificate = ca.certify(generateKey("ed25519").publicKey);
  await t.throwsAsync(client.addCertificate(attached(certificate)), refused);
  t.is(await reasonOf(client), "no-matching-key");
});

test("a locked agent shows nothing of its upstreams, which are not locked", async (t) => {
  const { inner, client } = await withUpstream(t);
  const { blob } = await addKey(inner, "key");
  await client.lock(Buffer.from("secret"));
  t.deepEqual(await comments(client), []);
  await t.throwsAsync(client.sign(blob, data), refused);
  t.is(await reasonOf(client), "locked");
  t.deepEqual(await comments(inner), ["key"]);
});

test("session bindings reach upstreams, before and after they are connected to", async (t) => {
  const { inner, front } = await withUpstream(t);
  const [bastion, target] = [makeHost("bastion"), makeHost("target")];
  const key = generateKey("ed25519");
  const destinations = [
    { from: origin, to: bastion.hop },
    { from: bastion.hop, to: target.hop },
  ];
  await inner.addIdentity(key, "limited", [{ type: "restrict-destination", destinations }]);
  const early = await front.connect();
  await bind(early, bastion, "s1", true);
  t.deepEqual(await comments(early), ["limited"]);
  await bind(early, makeHost("elsewhere"), "s2", true);
  t.deepEqual(await comments(early), []);
  const late = await front.connect();
  t.deepEqual(await comments(late), ["limited"]);
  await bind(late, makeHost("elsewhere"), "s1", true);
  t.deepEqual(await comments(late), []);
  // A binding that fails counts there too.
  const failed = await front.connect();
  await t.throwsAsync(failed.extension(extensionNames.sessionBind, Buffer.of(1)), refused);
  t.deepEqual(await comments(failed), []);
});

test("a client with more bindings than upstreams accept is shown none of their keys", async (t) => {
  const { inner, front, client } = await withUpstream(t);
  const [host, other] = [makeHost("host"), makeHost("other")];
  const destinations = [
    { from: origin, to: host.hop },
    { from: host.hop, to: makeHost("target").hop },
  ];
  const limits = [{ type: "restrict-destination", destinations }] as const;
  await inner.addIdentity(generateKey("ed25519"), "limited upstream", limits);
  await addKey(inner, "upstream's");
  await client.addIdentity(generateKey("ed25519"), "limited", limits);
  await addKey(client, "own");
  const repeating = await front.connect();
  for (let count = 0; count < 20; count++) await bind(repeating, host, "s1", true);
  t.is((await comments(repeating)).length, 4);
  await bind(repeating, other, "s2", true);
  t.deepEqual(await comments(repeating), ["own", "upstream's"]);
  const many = await front.connect();
  for (let count = 0; count < 16; count++) await bind(many, host, `s${count}`, true);
  t.deepEqual(await comments(many), ["own", "upstream's"]);
  await t.throwsAsync(bind(many, host, "s16", true), refused);
  t.deepEqual(await comments(many), ["own"]);
});

test("an upstream that is gone costs its own keys only, and is used when it is back", async (t) => {
  const folder = makeWorkspace(t);
  const path = folder.path("upstream");
  const front = await startAgent(t, { upstreams: [{ path, confirm: false }] });
  const client = await front.connect();
  await addKey(client, "own");
  t.deepEqual(await comments(client), ["own"]);
  const gone = [`The agent at ${path} cannot be connected to: No such file or directory.`];
  t.deepEqual(
    front.log.filter((line) => line.includes(path)),
    gone,
  );
  const key = generateKey("ed25519");
  const blob = encodePublicKey(key.publicKey);
  const behind = await startAgent(t);
  await (await behind.connect()).addIdentity(key, "theirs");
  const stop = await relay(path, behind.path);
  t.deepEqual(await comments(client), ["own", "theirs"]);
  await stop();
  await t.throwsAsync(client.sign(blob, data), refused);
  t.is(await reasonOf(client), "upstream-failed");
  t.deepEqual(await comments(client), ["own"]);
  const stopAgain = await relay(path, behind.path);
  t.true(verifySignature(key.publicKey, await client.sign(blob, data), data));
  await stopAgain();
});

test("an upstream that hangs is left out of lists until it answers what is pending", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const upstream = await hangingUpstream(path, someBlob);
  t.teardown(upstream.stop);
  const upstreamLimits = { ...longLimits, list: 100, details: 100 };
  const front = await startAgent(t, { upstreams: [{ path, confirm: false }], upstreamLimits });
  const client = await front.connect();
  await addKey(client, "own");
  t.deepEqual(await comments(client), ["own"]);
  const other = await front.connect();
  t.deepEqual(await comments(other), ["own"]);
  t.deepEqual((await other.listUpstreams())[0]?.state, "slow");
  t.deepEqual(await other.listProviders(), []);
  t.deepEqual(await other.listRenewals(), []);
  client.close();
  t.deepEqual(await comments(other), ["own"]);
  // The agent's own keys go at once, and the user is told of the others.
  await t.throwsAsync(other.removeAllIdentities(), refused);
  t.deepEqual(await comments(other), []);
  t.deepEqual(upstream.held(), ["request-identities"]);
  upstream.goOn();
  t.true(await eventually(() => front.log.includes(`the agent at ${path} is back`)));
  t.true(await eventually(async () => (await comments(other)).length === 1));
});

test("an upstream that hung and is started again is used at once", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const hanging = await hangingUpstream(path, someBlob);
  const upstreamLimits = { ...longLimits, list: 100 };
  const front = await startAgent(t, { upstreams: [{ path, confirm: false }], upstreamLimits });
  const client = await front.connect();
  t.deepEqual(await comments(client), []);
  await hanging.stop();
  t.true(await eventually(() => front.log.includes(`The agent at ${path} closed the connection.`)));
  const upstream = await hangingUpstream(path, someBlob);
  t.teardown(upstream.stop);
  upstream.goOn();
  t.true(await eventually(async () => (await comments(client)).length === 1));
});

test("an upstream that hangs is tried again after a while: another may listen now", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const upstream = await hangingUpstream(path, someBlob);
  t.teardown(upstream.stop);
  const clock = new TestClock();
  const log: string[] = [];
  const parts = { clock, log: (line: string) => log.push(line) };
  const upstreams = makeUpstreams([{ path, confirm: false }], parts);
  const client = upstreams.forClient();
  for (const count of [1, 2]) {
    const listed = client.list();
    t.true(await eventually(() => upstream.held().length === count));
    clock.pass(longLimits.list);
    t.is((await listed).size, 0);
    t.is((await client.list()).size, 0);
    clock.pass(10_000);
    await new Promise(setImmediate);
  }
  t.deepEqual(clock.waits, []);
  t.deepEqual(log, [`The agent at ${path} did not answer within 20 s.`]);
  upstream.goOn();
  t.is((await client.list()).size, 1);
  client.close();
});

test("an agent behind another one waits less for a list, so that its own is in time", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const upstream = await hangingUpstream(path, someBlob);
  t.teardown(upstream.stop);
  const clock = new TestClock();
  const upstreams = makeUpstreams([{ path, confirm: false }], { clock });
  const before = (count: number) => Array.from({ length: count }, (_, index) => Buffer.of(index));
  const waits = [0, 1, 2, 100].map((count) => {
    const client = upstreams.forClient();
    t.teardown(() => client.close());
    client.follow(before(count));
    void client.list();
    return clock.waits.at(-1);
  });
  t.deepEqual(waits, [20_000, 16_000, 12_000, 10_000]);
});

test("an upstream whose providers are slow, or which is slow to sign, lists its keys", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const list = encodeReply({
    type: "identities",
    identities: [{ keyBlob: someBlob, comment: "theirs" }],
  });
  const stop = await serve(path, (socket, message) => {
    const isSlow = message[0] === 13 || message.includes("-providers");
    if (!isSlow) socket.write(frame(message[0] === 11 ? list : Buffer.of(5)));
  });
  t.teardown(stop);
  const upstreamLimits = { ...longLimits, details: 100, sign: 100 };
  const front = await startAgent(t, { upstreams: [{ path, confirm: false }], upstreamLimits });
  const client = await front.connect();
  t.deepEqual(await client.listProviders(), []);
  t.deepEqual(await comments(client), ["theirs"]);
  await t.throwsAsync(client.sign(someBlob, data), refused);
  t.regex((await client.failureReason())?.sentence ?? "", /did not answer within 0\.1 s\.$/);
  t.deepEqual(await comments(client), ["theirs"]);
});

test("an upstream that talks nonsense costs its own keys only", async (t) => {
  const key = generateKey("ed25519");
  const identity = { keyBlob: encodePublicKey(key.publicKey), comment: "a\0b" };
  const broken = { keyBlob: identity.keyBlob.subarray(0, 20), comment: "cut" };
  const unknown = { keyBlob: Buffer.from("\0\0\0\x03newkey"), comment: "a new type" };
  const list = encodeReply({ type: "identities", identities: [broken, identity, unknown] });
  const answers: Record<string, (socket: Socket) => void> = {
    "a reply without meaning": (socket) => socket.write(frame(Buffer.of(99))),
    "a long frame": (socket) => socket.write(Buffer.alloc(4, 0xff)),
    "the end": (socket) => socket.destroy(),
    "the wrong reply": (socket) => socket.write(frame(Buffer.of(6))),
  };
  const path = makeWorkspace(t).path("upstream");
  const client = await (await startAgent(t, { upstreams: [{ path, confirm: false }] })).connect();
  await addKey(client, "own");
  for (const [name, answer] of Object.entries(answers)) {
    const stop = await serve(path, answer);
    t.deepEqual(await comments(client), ["own"], name);
    t.true(["invalid", "gone"].includes((await client.listUpstreams())[0]?.state ?? ""), name);
    await stop();
  }
  const stop = await serve(path, (socket, message) => {
    socket.write(frame(message[0] === 11 ? list : Buffer.of(5)));
  });
  t.deepEqual(await comments(client), ["own", "ab", "a new type"]);
  await stop();
});

test("refusals of agents of other projects are explained", async (t) => {
  const folder = makeWorkspace(t);
  const keyBlob = encodePublicKey(generateKey("ed25519").publicKey);
  const list = encodeReply({ type: "identities", identities: [{ keyBlob, comment: "theirs" }] });
  const path = folder.path("S.gpg-agent.ssh");
  const stop = await serve(path, (socket, message) => {
    socket.write(frame(message[0] === 11 ? list : Buffer.of(5)));
  });
  const link = folder.path("link");
  symlinkSync(path, link);
  const front = await startAgent(t, { upstreams: [{ path: link, confirm: false }] });
  const client = await front.connect();
  await t.throwsAsync(client.sign(keyBlob, data), refused);
  const reason = await client.failureReason();
  t.is(
    reason?.sentence,
    `The agent at ${link} refused: gpg-agent has no such key, or did not get the passphrase of it.`,
  );
  t.regex(reason?.hint ?? "", /GPG_TTY/);
  t.is((await client.listUpstreams())[0]?.name, "gpg-agent");
  await stop();
});

test("an upstream is known by its socket or its process, but not as the one that started it", async (t) => {
  const folder = makeWorkspace(t);
  const nameOf = async (socket: string, process: string) => {
    const path = folder.path(socket);
    const stop = await serve(path, () => {});
    const processName = () => Promise.resolve(process);
    const peerOf = () => ({ pid: 1, uid: ownUid });
    const upstream = new Upstream({ path, confirm: false }, { peerOf, processName, log: () => {} });
    (await upstream.connect()).destroy();
    await stop();
    return (await upstream.identify()).name;
  };
  t.is(await nameOf("S.gpg-agent.ssh", "systemd"), "gpg-agent");
  t.is(await nameOf("relay", "gnome-keyring-d"), "GNOME keyring");
  t.is(await nameOf("other", "pageant"), "pageant");
  t.is(await nameOf("other", "systemd"), "");
});

test("an upstream whose user the system does not tell is refused", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const stop = await serve(path, () => {});
  const system = {
    peerOf: () => {
      throw new Error("no credentials");
    },
    processName: () => Promise.resolve(""),
    log: () => {},
  };
  const failed = new Upstream({ path, confirm: false }, system).connect();
  await t.throwsAsync(failed, { message: /does not tell whose it is/ });
  await stop();
});

test("an upstream that is gone keeps nothing when all identities are removed", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const behind = await startAgent(t);
  const options = [path, behind.path].map((one) => ({ path: one, confirm: false }));
  const client = await (await startAgent(t, { upstreams: options })).connect();
  await addKey(await behind.connect(), "theirs");
  await client.removeAllIdentities();
  t.deepEqual(await comments(await behind.connect()), []);
  const stop = await serve(path, (socket) => socket.write(frame(Buffer.of(5))));
  await t.throwsAsync(client.removeAllIdentities(), refused);
  t.is(await reasonOf(client), "upstream-failed");
  await stop();
});

test("a key that nobody lists may be in an upstream that does not answer", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const client = await (await startAgent(t, { upstreams: [{ path, confirm: false }] })).connect();
  const { publicKey } = generateKey("ed25519");
  const blob = encodePublicKey(publicKey);
  const hint =
    `An agent behind this one may have it. The agent at ${path} cannot be connected to: No such file or directory. ` +
    "Start it again; this agent connects when its keys are needed.";
  for (const asking of [
    () => client.sign(blob, data),
    () => client.removeIdentity(blob),
    () => client.addCertificate(attached(ca.certify(publicKey))),
  ]) {
    await t.throwsAsync(asking(), refused);
    t.is((await client.failureReason())?.hint, hint);
  }
});

test("a key that is removed from its upstream takes its certificates here with it", async (t) => {
  const { inner, client } = await withUpstream(t);
  const { key, blob } = await addKey(inner, "key");
  await client.addCertificate(attached(ca.certify(key.publicKey)));
  await client.removeIdentity(blob);
  await inner.addIdentity(key, "again");
  t.deepEqual(await comments(client), ["again"]);
});

test("a destination constraint in an upstream permits logins with the plain key only", async (t) => {
  const { inner, front } = await withUpstream(t);
  const host = makeHost("host");
  const key = generateKey("ed25519");
  const blob = encodePublicKey(key.publicKey);
  const destinations = [{ from: origin, to: host.hop }];
  await inner.addIdentity(key, "limited", [{ type: "restrict-destination", destinations }]);
  const client = await front.connect();
  await bind(client, host, "s1", false);
  const certificate = ca.certify(key.publicKey);
  await client.addCertificate(attached(certificate));
  t.true(
    verifySignature(
      key.publicKey,
      await client.sign(blob, login("s1", "me", blob)),
      login("s1", "me", blob),
    ),
  );
  const asked = login("s1", "me", certificate, undefined, "ssh-ed25519-cert-v01@openssh.com");
  await t.throwsAsync(client.sign(certificate, asked), refused);
  t.is(await reasonOf(client), "upstream-failed");
});

test("a key that is constrained here is not used through an upstream where it is hidden", async (t) => {
  const { inner, front, client } = await withUpstream(t);
  const host = makeHost("host");
  const { key, blob } = await addKey(inner, "theirs");
  const destinations = [{ from: origin, to: host.hop }];
  await client.addIdentity(key, "limited", [{ type: "restrict-destination", destinations }]);
  const elsewhere = await front.connect();
  await bind(elsewhere, makeHost("elsewhere"), "s1", true);
  t.deepEqual(await comments(elsewhere), []);
  await t.throwsAsync(elsewhere.sign(blob, data), refused);
  t.is(await reasonOf(elsewhere), "destination-not-permitted");
  await t.throwsAsync(elsewhere.removeIdentity(blob), refused);
  t.deepEqual(await comments(inner), ["theirs"]);
  await t.throwsAsync(elsewhere.addCertificate(attached(ca.certify(key.publicKey))), refused);
  t.is(await reasonOf(elsewhere), "no-matching-key");
});

test("a key that is constrained here is not used by its certificate in an upstream", async (t) => {
  const { inner, front, client } = await withUpstream(t);
  const { key } = await addKey(inner, "theirs");
  const certificate = ca.certify(key.publicKey);
  await inner.addCertificate(attached(certificate));
  const destinations = [{ from: origin, to: makeHost("host").hop }];
  await client.addIdentity(key, "limited", [{ type: "restrict-destination", destinations }]);
  const elsewhere = await front.connect();
  await bind(elsewhere, makeHost("elsewhere"), "s1", true);
  await comments(elsewhere);
  await t.throwsAsync(elsewhere.sign(certificate, data), refused);
  t.is(await reasonOf(elsewhere), "destination-not-permitted");
});

test("a client that is the upstream itself is not shown that upstream", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const keyBlob = encodePublicKey(generateKey("ed25519").publicKey);
  const list = encodeReply({ type: "identities", identities: [{ keyBlob, comment: "theirs" }] });
  const stop = await serve(path, (socket, message) => {
    socket.write(frame(message[0] === 11 ? list : Buffer.of(5)));
  });
  const upstreams = makeUpstreams([{ path, confirm: false }]);
  const other = upstreams.forClient(process.pid);
  t.is((await other.list()).size, 1);
  other.close();
  const itself = upstreams.forClient(testPid);
  t.is((await itself.list()).size, 0);
  t.regex(itself.missingHint ?? "", /this agent is one of its own upstreams/);
  itself.close();
  await stop();
});

test("an upstream of another user is refused", async (t) => {
  const behind = await startAgent(t);
  await addKey(await behind.connect(), "key");
  const options = { upstreams: [{ path: behind.path, confirm: false }], upstreamUid: 12345 };
  const client = await (await startAgent(t, options)).connect();
  t.deepEqual(await comments(client), []);
  t.is((await client.listUpstreams())[0]?.state, "refused");
});

test("an agent that is its own upstream, also over a detour, is noticed", async (t) => {
  const folder = makeWorkspace(t);
  const paths = [folder.path("one"), folder.path("two")];
  const agents = await Promise.all(
    paths.map((_, index) =>
      startAgent(t, { upstreams: [{ path: paths[1 - index] ?? "", confirm: false }] }),
    ),
  );
  const stops = await Promise.all(
    paths.map((path, index) => relay(path, agents[index]?.path ?? "")),
  );
  const [one, two] = await Promise.all(agents.map((agent) => agent.connect()));
  if (one === undefined || two === undefined) throw new Error("no agents");
  await addKey(one, "one's");
  await addKey(two, "two's");
  t.deepEqual(await comments(one), ["one's", "two's"]);
  t.deepEqual(await comments(two), ["two's", "one's"]);
  t.is((await one.listUpstreams())[0]?.state, "ready");
  const id = agents[0]?.agent.upstreams.id ?? Buffer.alloc(0);
  await t.throwsAsync(one.extension(extensionNames.agentPath, encodeAgentPath([id])), refused);
  for (const stop of stops) await stop();
});

test("an agent that is its own upstream is connected to once, with any request", async (t) => {
  const path = makeWorkspace(t).path("upstream");
  const front = await startAgent(t, { upstreams: [{ path, confirm: false }] });
  let connections = 0;
  const stop = await relay(path, front.path, () => connections++);
  const blob = encodePublicKey(generateKey("ed25519").publicKey);
  for (const ask of [
    (client: AgentClient) => client.identities(),
    (client: AgentClient) => client.removeAllIdentities(),
    (client: AgentClient) => client.listProviders(),
    (client: AgentClient) => client.sign(blob, data).catch(() => {}),
  ]) {
    await ask(await front.connect());
    // A request of its own is answered after all that the last one has started.
    await (await front.connect()).query();
  }
  t.is(connections, 4);
  await stop();
});

test("list-upstreams tells what each is, and is refused behind a session", async (t) => {
  const { behind, inner, front, client } = await withUpstream(t);
  const { blob } = await addKey(inner, "key");
  t.deepEqual(await client.listUpstreams(), [
    { path: behind.path, state: "ready", name: "test", identities: [blob] },
  ]);
  const remote = await front.connect();
  await bind(remote, makeHost("bastion"), "s1", true);
  await t.throwsAsync(remote.listUpstreams(), refused);
  t.is(await reasonOf(remote), "remote-refused");
});

test("a chain of three lists, signs and removes", async (t) => {
  const last = await startAgent(t);
  const middle = await startAgent(t, { upstreams: [{ path: last.path, confirm: false }] });
  const first = await startAgent(t, { upstreams: [{ path: middle.path, confirm: false }] });
  const { key, blob } = await addKey(await last.connect(), "last's");
  await addKey(await middle.connect(), "middle's");
  const client = await first.connect();
  t.deepEqual(await comments(client), ["middle's", "last's"]);
  await client.addCertificate(attached(ca.certify(key.publicKey)));
  t.deepEqual(await comments(client), ["last's", "middle's", "last's"]);
  t.true(verifySignature(key.publicKey, await client.sign(ca.certify(key.publicKey), data), data));
  await client.removeIdentity(blob);
  t.deepEqual(await comments(await last.connect()), []);
});

/** Passes connections on to another socket. @returns a function that ends it */
async function relay(
  path: string,
  to: string,
  onConnection: () => void = () => {},
): Promise<() => Promise<void>> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    onConnection();
    const other = connect(to);
    for (const one of [socket, other]) {
      sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => (one === socket ? other : socket).destroy());
    }
    socket.pipe(other).pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  return () =>
    new Promise((resolve) => {
      for (const socket of sockets) socket.destroy();
      server.close(() => resolve());
    });
}
