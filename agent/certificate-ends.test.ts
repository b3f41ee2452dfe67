/** Expired certificates: the agent drops them, and nothing else. */
import test, { type ExecutionContext } from "ava";
import { keysOf, makeToken } from "../fixtures/softhsm.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { forever } from "../protocol/certificate.ts";
import type { AgentClient } from "../protocol/client.ts";
import type { Constraint } from "../protocol/constraints.ts";
import { decodePublicKey, encodePublicKey } from "../protocol/public-key.ts";
import { verifySignature } from "../protocol/verification.ts";
import {
  generateKey,
  makeCa,
  refused,
  startAgent,
  type TestAgentOptions,
  TestTime,
} from "./test-agent.ts";

const data = Buffer.from("data");
/** When the certificates of these tests expire. */
const end = TestTime.start + 1000n;

async function prepare(t: ExecutionContext, options: TestAgentOptions = {}) {
  const time = new TestTime();
  const agent = await startAgent(t, { clock: time, wallClock: time.wall, ...options });
  return { time, agent, client: await agent.connect() };
}

async function blobs(client: AgentClient): Promise<Buffer[]> {
  return (await client.identities()).map(({ keyBlob }) => keyBlob);
}

function attach(client: AgentClient, certificate: Buffer, constraints: Constraint[] = []) {
  return client.addCertificate({ certificate, comment: "", replace: true, constraints });
}

const keepEnded: Constraint = { type: "keep-ended-certificate" };

test("a certificate is dropped five minutes after it expires, and its key stays", async (t) => {
  const { time, agent, client } = await prepare(t);
  const [key, other] = [generateKey("ed25519"), generateKey("nistp256")];
  const attached = makeCa().certify(key.publicKey, { validBefore: end });
  const added = makeCa().certify(other.publicKey, { validBefore: end });
  await client.addIdentity(key, "attached");
  await attach(client, attached);
  await client.addIdentity(other, "added");
  await client.addIdentity({ ...other, certificate: added }, "added");
  t.is(time.waits.length, 1);
  time.seconds(1299);
  t.is((await blobs(client)).length, 4);
  time.seconds(1);
  const plain = [key, other].map(({ publicKey }) => encodePublicKey(publicKey));
  t.deepEqual(await blobs(client), plain);
  t.deepEqual(time.waits, []);
  t.deepEqual(
    agent.log.filter((line) => line.startsWith("dropped")),
    [
      'dropped after the certificate expired certificate "attached"',
      'dropped after the certificate expired certificate "added"',
    ],
  );
});

test("certificates expire by the wall clock, which may be set forward and back", async (t) => {
  const { time, client } = await prepare(t);
  const key = generateKey("ed25519");
  const certificate = makeCa().certify(key.publicKey, { validBefore: end });
  await client.addIdentity({ ...key, certificate }, "key");
  time.offset = -500n;
  time.seconds(1700);
  t.is((await blobs(client)).length, 1);
  time.offset = 5000n;
  time.seconds(60);
  t.is((await blobs(client)).length, 0);
});

test("-O certificate-grace and -O keep-ended-certificates", async (t) => {
  for (const [certificateGrace, left] of [
    [0, 0],
    [60, 1],
    [undefined, 1],
  ] as const) {
    const { time, client } = await prepare(t, { settings: { certificateGrace } });
    const key = generateKey("ed25519");
    const certificate = makeCa().certify(key.publicKey, { validBefore: end });
    await client.addIdentity({ ...key, certificate }, "key");
    time.seconds(1059);
    t.is((await blobs(client)).length, left, `${certificateGrace}`);
    time.seconds(1_000_000);
    t.is((await blobs(client)).length, certificateGrace === undefined ? 1 : 0);
  }
});

test("an expired certificate stays if its request says so", async (t) => {
  const { time, client } = await prepare(t);
  const [key, other] = [generateKey("ed25519"), generateKey("ed25519")];
  const [certify, fields] = [makeCa().certify, { validBefore: end }];
  await client.addIdentity(other, "other");
  await client.addIdentity({ ...key, certificate: certify(key.publicKey, fields) }, "key", [
    keepEnded,
  ]);
  await attach(client, certify(other.publicKey, fields), [keepEnded]);
  const ended = certify(key.publicKey, { validBefore: 5n });
  await client.addIdentity({ ...key, certificate: ended }, "ended", [keepEnded]);
  t.deepEqual(time.waits, []);
  time.seconds(10_000);
  t.is((await blobs(client)).length, 4);
});

test("for a certificate that is added again, the last request decides whether it stays", async (t) => {
  const { time, client } = await prepare(t);
  const key = generateKey("ed25519");
  const certificate = makeCa().certify(key.publicKey, { validBefore: end });
  await client.addIdentity({ ...key, certificate }, "key", [keepEnded]);
  await client.addIdentity({ ...key, certificate }, "key");
  time.seconds(1300);
  t.is((await blobs(client)).length, 0);
});

test("a certificate that never expires sets no timer", async (t) => {
  const { time, client } = await prepare(t);
  const key = generateKey("ed25519");
  const certificate = makeCa().certify(key.publicKey, { validBefore: forever });
  await client.addIdentity({ ...key, certificate }, "key");
  t.deepEqual(time.waits, []);
});

test("a certificate that would be dropped at once is refused", async (t) => {
  const { client } = await prepare(t);
  const key = generateKey("ed25519");
  const { certify } = makeCa();
  const late = certify(key.publicKey, { validBefore: TestTime.start - 299n });
  await client.addIdentity({ ...key, certificate: late }, "just ended");
  const tooLate = certify(key.publicKey, { validBefore: TestTime.start - 300n });
  await t.throwsAsync(client.addIdentity({ ...key, certificate: tooLate }, "ended"), refused);
  t.is((await client.failureReason())?.code, "certificate-expired");
  t.deepEqual(await blobs(client), [late]);
});

test("a key that was added only with its certificate is removed with it", async (t) => {
  const { time, client } = await prepare(t);
  const key = generateKey("ed25519");
  const { certify } = makeCa();
  const certificate = certify(key.publicKey, { validBefore: end });
  await client.addIdentity({ ...key, certificate }, "key");
  time.seconds(1300);
  await t.throwsAsync(client.sign(certificate, data), refused);
  t.is((await client.failureReason())?.code, "certificate-expired");
  await t.throwsAsync(attach(client, certify(key.publicKey)), refused);
  t.is((await client.failureReason())?.code, "no-matching-key");
});

test("a renewed certificate outlives the previous one's lifetime if that was its validity", async (t) => {
  const { time, client } = await prepare(t);
  const key = generateKey("ed25519");
  const { certify } = makeCa();
  await client.addIdentity(key, "key");
  const first = certify(key.publicKey, { validBefore: end });
  await attach(client, first, [{ type: "lifetime", seconds: 1300 }]);
  await client.removeIdentity(encodePublicKey(key.publicKey));
  const second = certify(key.publicKey, { validBefore: end + 1000n });
  await attach(client, second, [{ type: "lifetime", seconds: 2300 }]);
  t.deepEqual(await blobs(client), [second]);
  time.seconds(2299);
  t.deepEqual(await blobs(client), [second]);
  time.seconds(1);
  t.deepEqual(await blobs(client), []);
});

test("a lifetime shorter than the certificate's validity applies to later certificates too", async (t) => {
  const { time, client } = await prepare(t);
  const key = generateKey("ed25519");
  const { certify } = makeCa();
  await client.addIdentity(key, "key");
  const first = certify(key.publicKey, { validBefore: end });
  await attach(client, first, [{ type: "lifetime", seconds: 100 }]);
  await client.removeIdentity(encodePublicKey(key.publicKey));
  await attach(client, certify(key.publicKey, { validBefore: end + 1000n }));
  time.seconds(100);
  t.deepEqual(await blobs(client), []);
});

/** Loads a card with a certificate, valid until `end`, and without its plain key. */
async function prepareCard(t: ExecutionContext, constraints: Constraint[] = []) {
  const token = await makeToken(makeWorkspace(t), { keys: keysOf(["p256"]) });
  const { time, client } = await prepare(t, { cardEnvironment: token.env });
  const load = (more: Constraint[]) =>
    client.addSmartcardKey(token.library, Buffer.from(token.pin), more);
  await load([]);
  const key = decodePublicKey((await blobs(client))[0] ?? data);
  if (key === undefined) throw new Error("The card has no key.");
  const { certify } = makeCa();
  const certificates = [certify(key, { validBefore: end })];
  await load([{ type: "associated-certs", certsOnly: true, certificates }, ...constraints]);
  t.deepEqual(await blobs(client), certificates);
  const renewed = certify(key, { validBefore: end + 10_000n });
  return { token, time, client, key, certify, renewed };
}

test("a card stays loaded when its last certificate expires, and takes the next without PIN", async (t) => {
  const { time, client, key, certify, renewed } = await prepareCard(t);
  time.seconds(1300);
  t.deepEqual(await blobs(client), []);
  t.deepEqual(
    (await client.listProviders()).map(({ state, identities }) => [state, identities]),
    [["ready", []]],
  );
  await t.throwsAsync(client.sign(encodePublicKey(key), data), refused);
  await attach(client, renewed, [{ type: "lifetime", seconds: 10_000 }]);
  t.true(verifySignature(key, await client.sign(renewed, data), data));
  // Again, when the previous certificate and its lifetime have expired at the same time.
  time.seconds(10_000);
  t.deepEqual(await blobs(client), []);
  const last = certify(key, { validBefore: end + 20_000n });
  await attach(client, last);
  t.deepEqual(await blobs(client), [last]);
  await client.removeIdentity(last);
  t.deepEqual(await client.listProviders(), []);
});

test("a card's constraints apply to a certificate attached after its last one expired", async (t) => {
  const { time, client, renewed } = await prepareCard(t, [
    { type: "lifetime", seconds: 3000 },
    { type: "confirm" },
  ]);
  time.seconds(1300);
  t.is((await client.listProviders()).length, 1);
  await attach(client, renewed);
  t.deepEqual(await blobs(client), [renewed]);
  await t.throwsAsync(client.sign(renewed, data), refused);
  t.is((await client.failureReason())?.code, "user-refused");
  time.seconds(1700);
  t.deepEqual(await blobs(client), []);
  t.deepEqual(await client.listProviders(), []);
});

test("a card without certificates is removed when its lifetime expires", async (t) => {
  const { time, client, renewed } = await prepareCard(t, [{ type: "lifetime", seconds: 3000 }]);
  time.seconds(1300);
  t.is((await client.listProviders()).length, 1);
  time.seconds(1700);
  t.deepEqual(await client.listProviders(), []);
  await t.throwsAsync(attach(client, renewed), refused);
  t.is((await client.failureReason())?.code, "no-matching-key");
  t.deepEqual(time.waits, []);
});

test("a card without certificates is removed by -e, and by -D", async (t) => {
  for (const remove of [
    (client: AgentClient, library: string) => client.removeSmartcardKey(library),
    (client: AgentClient) => client.removeAllIdentities(),
    (client: AgentClient) => client.removeAllProviders(),
  ]) {
    const { token, time, client, renewed } = await prepareCard(t);
    time.seconds(1300);
    await remove(client, token.library);
    t.deepEqual(await client.listProviders(), []);
    await t.throwsAsync(attach(client, renewed), refused);
    t.is((await client.failureReason())?.code, "no-matching-key");
  }
});

test("an expired certificate of a card stays if its request says so", async (t) => {
  const { time, client } = await prepareCard(t, [keepEnded]);
  time.seconds(5000);
  t.is((await blobs(client)).length, 1);
});
