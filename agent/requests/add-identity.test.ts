/** Certificates that come with their private key and renew others (requests 17 and 25). */
import test from "ava";
import type { Certificate } from "../../protocol/certificate.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { comments, generateKey, makeCa, startAgent } from "../test-agent.ts";

const now = 1_800_000_000n;

/** An agent, and a way to add certificates of one key under the comment that names them. */
async function prepare(t: Parameters<typeof startAgent>[0]) {
  const agent = await startAgent(t, { now });
  const client = await agent.connect();
  const key = generateKey("ed25519");
  const { certify } = makeCa();
  const certificate = (fields: Partial<Certificate>) => certify(key.publicKey, fields);
  const add = (comment: string, fields: Partial<Certificate> = {}, by = client) =>
    by.addIdentity({ ...key, certificate: certificate(fields) }, comment);
  return { agent, client, key, certificate, add };
}

test("a renewed certificate replaces the earlier one", async (t) => {
  const { agent, client, key, certificate, add } = await prepare(t);
  await client.addIdentity(generateKey("ed25519"), "before");
  await client.addIdentity(key, "key");
  await add("certificate", { serial: 1n });
  await client.addIdentity(generateKey("ed25519"), "after");
  await add("renewed", { serial: 2n });
  t.deepEqual(await comments(client), ["before", "key", "renewed", "after"]);
  t.is(agent.log.at(-1), 'added certificate "renewed", in the place of 1');
  const data = Buffer.from("data");
  const signature = await client.sign(certificate({ serial: 2n }), data);
  t.true(verifySignature(key.publicKey, signature, data));
  await add("again", { serial: 2n });
  t.deepEqual(await comments(client), ["before", "key", "again", "after"]);
  // A listed certificate keeps its place when it supersedes another one.
  await add("shorter", { serial: 3n, validBefore: now + 1n });
  await add("third", { serial: 2n });
  t.deepEqual(await comments(client), ["before", "key", "third", "after"]);
});

test("certificates that are not superseded stay", async (t) => {
  const { client, add } = await prepare(t);
  await add("certificate");
  await add("other principals", { principals: ["alice"] });
  const criticalOptions = [{ name: "force-command", data: Buffer.from("ls") }];
  await add("other critical options", { criticalOptions });
  await add("shorter", { validBefore: now + 1n });
  const before = ["certificate", "other principals", "other critical options", "shorter"];
  t.deepEqual(await comments(client), before);
  await add("renewed", { serial: 2n, validBefore: 2_000_000_001n });
  t.deepEqual(await comments(client), ["renewed", ...before.slice(1, 3)]);
});

test("an attached certificate is renewed too", async (t) => {
  const { client, key, certificate, add } = await prepare(t);
  await client.addIdentity(key, "key");
  const request = { comment: "attached", replace: true, constraints: [] };
  await client.addCertificate({ certificate: certificate({ serial: 1n }), ...request });
  await add("renewed", { serial: 2n });
  t.deepEqual(await comments(client), ["renewed", "key"]);
});

test("a connection cannot renew a certificate that it may not see", async (t) => {
  const { agent, client, key, certificate, add } = await prepare(t);
  const host = makeCa();
  const hop = (name: string, keyBlob: Buffer) => {
    return { user: "", host: name, keys: [{ keyBlob, isCa: false }] };
  };
  const origin = { user: "", host: "", keys: [] };
  const destinations = [{ from: origin, to: hop("elsewhere", makeCa().keyBlob) }];
  const hidden = certificate({ serial: 1n });
  await client.addIdentity({ ...key, certificate: hidden }, "hidden", [
    { type: "restrict-destination", destinations },
  ]);
  const bound = await agent.connect();
  const sessionId = Buffer.from("session");
  const signature = host.sign(sessionId);
  await bound.bindSession({ hostKey: host.keyBlob, sessionId, signature, isForwarding: true });
  t.deepEqual(await comments(bound), []);
  await add("renewed", { serial: 2n }, bound);
  t.deepEqual(await comments(bound), ["renewed"]);
  t.deepEqual(await comments(client), ["hidden", "renewed"]);
});
