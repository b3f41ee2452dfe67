import test from "ava";
import type { Certificate } from "../../protocol/certificate.ts";
import { AgentRefusal } from "../../protocol/client.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { makeCa, refused, startAgent, type TestCa } from "../test-agent.ts";
import { bind, isListed, isRefused, login, makeHost, origin, withKey } from "./test-hosts.ts";

const bastion = makeHost("bastion");
const inner = makeHost("inner");
const stranger = makeHost("stranger");

test("a local client lists a constrained key, which signs nothing without a session", async (t) => {
  const { agent, blob } = await withKey(t, [{ from: origin, to: bastion.hop }]);
  const client = await agent.connect();
  t.true(await isListed(client));
  await isRefused(t, client, client.sign(blob, Buffer.from("data")));
  await isRefused(t, client, client.sign(blob, login("s1", "root", blob)));
});

test("a key for one host signs logins to that host only", async (t) => {
  const { agent, blob } = await withKey(t, [{ from: origin, to: bastion.hop }]);
  const client = await agent.connect();
  await bind(client, bastion, "s1", false);
  t.true(await isListed(client));
  await t.notThrowsAsync(client.sign(blob, login("s1", "root", blob)));
  await t.notThrowsAsync(client.sign(blob, login("s1", "root", blob, bastion.key.keyBlob)));
  await isRefused(t, client, client.sign(blob, login("s2", "root", blob)));
  await isRefused(t, client, client.sign(blob, login("s1", "root", blob, inner.key.keyBlob)));
  await isRefused(t, client, client.sign(blob, Buffer.from("a file to be signed")));
  await isRefused(t, client, client.sign(blob, login("s1", "root", Buffer.from("other key"))));

  const elsewhere = await agent.connect();
  await bind(elsewhere, stranger, "s3", false);
  t.false(await isListed(elsewhere));
  await isRefused(t, elsewhere, elsewhere.sign(blob, login("s3", "root", blob)));
});

test("a key for one host is not listed for clients on that host", async (t) => {
  const { agent, blob } = await withKey(t, [{ from: origin, to: bastion.hop }]);
  const client = await agent.connect();
  await bind(client, bastion, "s1", true);
  t.false(await isListed(client));
  await isRefused(t, client, client.sign(blob, login("s1", "root", blob)));
  await t.throwsAsync(client.removeIdentity(blob), refused);
  t.is((await client.failureReason())?.code, "key-not-found");
  t.true(await isListed(await agent.connect()));
});

test("a key for two hops signs through the first if the signature names the host", async (t) => {
  const { agent, blob } = await withKey(t, [
    { from: origin, to: bastion.hop },
    { from: bastion.hop, to: inner.hop },
  ]);
  const client = await agent.connect();
  await bind(client, bastion, "s1", true);
  t.true(await isListed(client));
  await bind(client, inner, "s2", false);
  t.true(await isListed(client));
  await t.notThrowsAsync(client.sign(blob, login("s2", "root", blob, inner.key.keyBlob)));
  await isRefused(t, client, client.sign(blob, login("s2", "root", blob)));

  const direct = await agent.connect();
  await bind(direct, inner, "s3", false);
  t.false(await isListed(direct));

  const through = await agent.connect();
  await bind(through, stranger, "s4", true);
  t.false(await isListed(through));
});

test("a user name in a constraint is a pattern", async (t) => {
  const { agent, blob } = await withKey(t, [
    { from: origin, to: { ...bastion.hop, user: "deploy*" } },
  ]);
  const client = await agent.connect();
  await bind(client, bastion, "s1", false);
  t.true(await isListed(client));
  await t.notThrowsAsync(client.sign(blob, login("s1", "deploy-web", blob)));
  await isRefused(t, client, client.sign(blob, login("s1", "root", blob)));
});

test("a host is identified by a certificate that is valid now and for its name", async (t) => {
  const ca = makeCa();
  const to = { user: "", host: "web.example", keys: [{ keyBlob: ca.keyBlob, isCa: true }] };
  const { agent } = await withKey(t, [{ from: origin, to }]);
  const web = makeHost("web.example");
  const webKey = decodePublicKey(web.key.keyBlob);
  if (webKey === undefined) return t.fail();
  const good = { type: "host", principals: ["*.example"] } as const;
  const isKnown = async (signer: TestCa, fields: Partial<Certificate>) => {
    const client = await agent.connect();
    const certificate = signer.certify(webKey, { ...good, ...fields });
    const binding = bind(client, web, "session", false, certificate);
    await binding.catch((error) => t.true(error instanceof AgentRefusal));
    return isListed(client);
  };
  t.true(await isKnown(ca, {}));
  t.false(await isKnown(ca, { principals: [] }));
  t.false(await isKnown(makeCa(), {}));
  t.false(await isKnown(ca, { principals: ["other.test"] }));
  t.false(await isKnown(ca, { type: "user" }));
  t.false(await isKnown(ca, { validBefore: 1_799_999_999n }));
  t.false(await isKnown(ca, { validAfter: 1_800_000_001n }));
  const option = { name: "force-command", data: Buffer.alloc(0) };
  t.false(await isKnown(ca, { criticalOptions: [option] }));
});

test("a binding needs the host's signature, and no session follows a login", async (t) => {
  const client = await (await startAgent(t)).connect();
  const sessionId = Buffer.from("s1");
  const signature = stranger.key.sign(sessionId);
  const hostKey = bastion.key.keyBlob;
  const forged = client.bindSession({ hostKey, sessionId, signature, isForwarding: false });
  const refusal = await t.throwsAsync(forged, refused);
  t.true(refusal?.isExtensionFailure);
  t.is((await client.failureReason())?.code, "malformed");
  await bind(client, bastion, "s1", true);
  await t.notThrowsAsync(bind(client, bastion, "s1", true));
  await t.throwsAsync(bind(client, inner, "s1", true), refused);
  await bind(client, inner, "s2", false);
  await t.throwsAsync(bind(client, inner, "s3", false), refused);
});

test("a connection is bound to at most sixteen sessions", async (t) => {
  const client = await (await startAgent(t)).connect();
  for (let index = 0; index < 16; index++) await bind(client, bastion, `s${index}`, true);
  await t.throwsAsync(bind(client, bastion, "one more", true), refused);
});
