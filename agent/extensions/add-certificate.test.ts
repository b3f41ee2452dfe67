import test from "ava";
import { type AgentClient, AgentRefusal } from "../../protocol/client.ts";
import type { AddCertificate } from "../../protocol/extensions/add-certificate.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { comments, generateKey, makeCa, refused, startAgent, TestClock } from "../test-agent.ts";

const now = 1_800_000_000n;

function request(certificate: Buffer, fields: Partial<AddCertificate> = {}): AddCertificate {
  return { certificate, comment: "", replace: false, constraints: [], ...fields };
}

async function isRefused(
  t: { is: (actual: unknown, expected: unknown) => unknown },
  client: AgentClient,
  certificate: Buffer,
): Promise<string | undefined> {
  const refusal = await client.addCertificate(request(certificate)).catch((error) => error);
  t.is(refusal instanceof AgentRefusal && refusal.isExtensionFailure, true);
  return (await client.failureReason())?.code;
}

test("a certificate signs with its key, and has the key's comment", async (t) => {
  const client = await (await startAgent(t)).connect();
  const key = generateKey("nistp384");
  const certificate = makeCa().certify(key.publicKey);
  await client.addIdentity(generateKey("ed25519"), "other");
  await client.addIdentity(key, "mine");
  await client.addCertificate(request(certificate));
  t.deepEqual(await comments(client), ["other", "mine", "mine"]);
  t.deepEqual((await client.identities())[1]?.keyBlob, certificate);
  const data = Buffer.from("data");
  t.true(verifySignature(key.publicKey, await client.sign(certificate, data), data));
  const named = makeCa().certify(key.publicKey, { serial: 2n });
  await client.addCertificate(request(named, { comment: "work" }));
  t.deepEqual(await comments(client), ["other", "mine", "work", "mine"]);
});

test("a certificate stays when its key is removed, and can be renewed then", async (t) => {
  const client = await (await startAgent(t)).connect();
  const key = generateKey("ed25519");
  const ca = makeCa();
  await client.addIdentity(key, "key");
  await client.addCertificate(request(ca.certify(key.publicKey)));
  await client.removeIdentity(encodePublicKey(key.publicKey));
  const renewed = ca.certify(key.publicKey, { serial: 2n });
  await client.addCertificate(request(renewed, { replace: true }));
  t.deepEqual(
    (await client.identities()).map(({ keyBlob }) => keyBlob),
    [renewed],
  );
});

test("replace drops only older certificates of the same key by the same CA", async (t) => {
  const client = await (await startAgent(t)).connect();
  const [key, otherKey] = [generateKey("ed25519"), generateKey("ed25519")];
  const [ca, otherCa] = [makeCa(), makeCa()];
  await client.addIdentity(key, "key");
  await client.addIdentity(otherKey, "other key");
  const add = (certificate: Buffer, comment: string, replace = false) =>
    client.addCertificate(request(certificate, { comment, replace }));
  await add(ca.certify(key.publicKey, { serial: 1n }), "first");
  await add(ca.certify(key.publicKey, { serial: 2n }), "second");
  await add(otherCa.certify(key.publicKey), "other CA");
  await add(ca.certify(otherKey.publicKey), "other key's");
  t.deepEqual(await comments(client), [
    "first",
    "second",
    "other CA",
    "key",
    "other key's",
    "other key",
  ]);
  const renewed = ca.certify(key.publicKey, { serial: 3n });
  await add(renewed, "renewed", true);
  const after = ["renewed", "other CA", "key", "other key's", "other key"];
  t.deepEqual(await comments(client), after);
  await add(renewed, "renewed", true);
  t.deepEqual(await comments(client), after);
});

test("replace keeps certificates that the new one does not supersede", async (t) => {
  const client = await (await startAgent(t, { now })).connect();
  const key = generateKey("ed25519");
  const ca = makeCa();
  await client.addIdentity(key, "key");
  const add = (comment: string, fields: Parameters<typeof ca.certify>[1]) => {
    const certificate = ca.certify(key.publicKey, { keyId: comment, ...fields });
    return client.addCertificate(request(certificate, { comment, replace: true }));
  };
  const [soon, later, last] = [now + 100n, now + 200n, now + 300n];
  await add("alice", { principals: ["alice", "admin"], validBefore: later });
  await add("bob", { principals: ["bob"], validBefore: later });
  await add("not yet", { principals: ["alice", "admin"], validAfter: soon, validBefore: last });
  await add("shorter", { principals: ["alice", "admin"], validBefore: soon });
  await add("a host", { type: "host", principals: ["alice", "admin"], validBefore: last });
  const all = ["alice", "bob", "not yet", "shorter", "a host", "key"];
  t.deepEqual((await comments(client)).sort(), all.sort());
  await add("renewed", { principals: ["admin", "alice"], validBefore: later });
  const left = ["bob", "not yet", "a host", "renewed", "key"];
  t.deepEqual((await comments(client)).sort(), left.sort());
});

test("a certificate inherits its key's constraints, and can only add to them", async (t) => {
  const clock = new TestClock();
  const asked: string[] = [];
  const agent = await startAgent(t, {
    clock,
    now,
    prompter: {
      confirm: (question) => {
        asked.push(question);
        return Promise.resolve(true);
      },
    },
  });
  const client = await agent.connect();
  const key = generateKey("ed25519");
  const ca = makeCa();
  await client.addIdentity(key, "key", [{ type: "lifetime", seconds: 20 }, { type: "confirm" }]);
  const add = (serial: bigint, seconds: number) => {
    const certificate = ca.certify(key.publicKey, { serial });
    const comment = `${seconds} s`;
    const constraints = [{ type: "lifetime", seconds } as const];
    return client.addCertificate(request(certificate, { comment, constraints }));
  };
  await add(1n, 10);
  await add(2n, 1000);
  await client.sign(ca.certify(key.publicKey, { serial: 1n }), Buffer.from("data"));
  t.is(asked.length, 1);
  clock.pass(10_000);
  t.deepEqual(await comments(client), ["1000 s", "key"]);
  clock.pass(10_000);
  t.deepEqual(await comments(client), []);
});

test("a certificate that cannot be attached is refused with the reason", async (t) => {
  const client = await (await startAgent(t, { now })).connect();
  const key = generateKey("ed25519");
  const ca = makeCa();
  const { publicKey } = key;
  t.is(await isRefused(t, client, ca.certify(publicKey)), "no-matching-key");
  await client.addIdentity(key, "key");
  const expired = ca.certify(publicKey, { validBefore: now });
  t.is(await isRefused(t, client, expired), "certificate-expired");
  t.is(await isRefused(t, client, encodePublicKey(publicKey)), "malformed");
  const forged = ca.certify(publicKey, { signature: makeCa().sign(Buffer.of(1)) });
  forged[forged.length - 1] = (forged.at(-1) ?? 0) ^ 1;
  t.is(await isRefused(t, client, forged), "malformed");
  t.is(await isRefused(t, client, Buffer.from("garbage")), "malformed");
  await t.notThrowsAsync(client.addCertificate(request(ca.certify(publicKey))));
  await client.lock(Buffer.from("x"));
  await t.throwsAsync(client.addCertificate(request(ca.certify(publicKey))), refused);
  t.is((await client.failureReason())?.code, "locked");
});
