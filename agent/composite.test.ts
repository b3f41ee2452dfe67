/** The agent with composite keys; OpenSSH 10.5's own messages. */
import test from "ava";
import { compositeTranscript } from "../fixtures/vectors/mldsa44-ed25519.ts";
import { encodePublicKey } from "../protocol/public-key.ts";
import { decodeReply, encodeReply } from "../protocol/replies.ts";
import { decodeRequest } from "../protocol/requests.ts";
import { verifyKeyOrCertificate, verifySignature } from "../protocol/verification.ts";
import { bind, login, origin } from "./policy/test-hosts.ts";
import { generateKey, makeCa, reasonOf, refused, startAgent } from "./test-agent.ts";

test("what ssh-add of OpenSSH 10.5 sends gets the replies of its agent", async (t) => {
  const client = await (await startAgent(t)).connect();
  for (const { request, reply } of compositeTranscript()) {
    const decoded = decodeRequest(request);
    const expected = decodeReply(reply);
    const actual = await client.request(decoded);
    if (decoded.type !== "sign" || expected.type !== "signature" || actual.type !== "signature") {
      t.deepEqual(encodeReply(actual), reply);
      continue;
    }
    // Signatures are random.
    const { key } = verifyKeyOrCertificate(decoded.keyBlob);
    t.true(verifySignature(key, actual.signature, decoded.data));
    t.is(actual.signature.length, expected.signature.length);
  }
});

test("a certificate by a composite CA can be attached to a key of any type, and signs", async (t) => {
  const client = await (await startAgent(t)).connect();
  const ca = makeCa("mldsa44-ed25519");
  for (const type of ["mldsa44-ed25519", "ed25519", "rsa"] as const) {
    const key = generateKey(type);
    await client.addIdentity(key, type);
    const certificate = ca.certify(key.publicKey);
    await client.addCertificate({ certificate, comment: "", replace: false, constraints: [] });
    const data = Buffer.from("data");
    t.true(verifySignature(key.publicKey, await client.sign(certificate, data, 2), data));
  }
  t.is((await client.identities()).length, 6);
});

test("either half of a private key that is not its public key's is refused", async (t) => {
  const client = await (await startAgent(t)).connect();
  const [one, other] = [generateKey("mldsa44-ed25519"), generateKey("mldsa44-ed25519")];
  const [key, { secret }] = [one.publicKey, other];
  if (key.type !== "mldsa44-ed25519" || secret.type !== "mldsa44-ed25519") return t.fail();
  if (one.secret.type !== "mldsa44-ed25519") return t.fail();
  for (const wrong of [
    { ...one.secret, mlDsaSeed: secret.mlDsaSeed },
    { ...one.secret, ed25519Seed: secret.ed25519Seed },
  ]) {
    await t.throwsAsync(client.addIdentity({ ...one, secret: wrong }, ""), refused);
    t.is(await reasonOf(client), "malformed");
  }
  await client.addIdentity(one, "");
  await client.removeIdentity(encodePublicKey(key));
});

test("a composite key signs at a host with such a key, and nowhere else", async (t) => {
  const agent = await startAgent(t);
  const [here, elsewhere] = ["here", "elsewhere"].map((host) => {
    const key = makeCa("mldsa44-ed25519");
    return { key, hop: { user: "", host, keys: [{ keyBlob: key.keyBlob, isCa: false }] } };
  });
  if (here === undefined || elsewhere === undefined) return t.fail();
  const key = generateKey("mldsa44-ed25519");
  const destinations = [{ from: origin, to: here.hop }];
  await (await agent.connect()).addIdentity(key, "", [
    { type: "restrict-destination", destinations },
  ]);
  const blob = encodePublicKey(key.publicKey);
  const algorithm = "ssh-mldsa44-ed25519@openssh.com";
  const data = login("session", "root", blob, undefined, algorithm);
  const client = await agent.connect();
  await bind(client, here, "session", false);
  t.true(verifySignature(key.publicKey, await client.sign(blob, data), data));
  const other = await agent.connect();
  await bind(other, elsewhere, "session", false);
  await t.throwsAsync(other.sign(blob, data), refused);
});

test("an upstream agent's composite key is listed, signs, and gets a certificate", async (t) => {
  const behind = await startAgent(t);
  const upstreams = [{ path: behind.path, confirm: false }];
  const client = await (await startAgent(t, { upstreams })).connect();
  const key = generateKey("mldsa44-ed25519");
  await (await behind.connect()).addIdentity(key, "behind");
  const certificate = makeCa("mldsa44-ed25519").certify(key.publicKey);
  await client.addCertificate({ certificate, comment: "", replace: true, constraints: [] });
  const blobs = (await client.identities()).map(({ keyBlob }) => keyBlob);
  t.deepEqual(blobs, [certificate, encodePublicKey(key.publicKey)]);
  const data = Buffer.from("data");
  for (const blob of blobs) {
    t.true(verifySignature(key.publicKey, await client.sign(blob, data), data));
  }
});
