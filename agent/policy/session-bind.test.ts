import { readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { hostilePin, makeHostileModule } from "../../fixtures/hostile-module/index.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { decodeCertificate } from "../../protocol/certificate.ts";
import type { AgentClient } from "../../protocol/client.ts";
import { encodeSessionBind } from "../../protocol/extensions/session-bind.ts";
import { decodePublicKey, encodePublicKey, type PublicKey } from "../../protocol/public-key.ts";
import { encodeCertificate } from "../../protocol/test-certificates.ts";
import { generateKey, keyTypes, makeCa, refused, startAgent, type TestCa } from "../test-agent.ts";
import {
  bind,
  type Host,
  isListed,
  isRefused,
  login,
  makeHost,
  origin,
  withKey,
} from "./test-hosts.ts";

const bastion = makeHost("bastion");
const jump = makeHost("jump");
const target = makeHost("target");

const keyOf = ({ key }: Host): PublicKey => {
  const decoded = decodePublicKey(key.keyBlob);
  if (decoded === undefined) throw new Error("no key");
  return decoded;
};

/** A certificate of `jump` for its name. */
function certify(ca: TestCa, fields: Parameters<TestCa["certify"]>[1] = {}): Buffer {
  return ca.certify(keyOf(jump), { type: "host", principals: ["jump"], ...fields });
}

/** A certificate that names the CA but is signed by another one. */
function forge(ca: TestCa): Buffer {
  const good = decodeCertificate(certify(ca));
  const other = decodeCertificate(certify(makeCa(), { caKey: ca.keyBlob }));
  if (good === undefined || other === undefined) throw new Error("no certificate");
  return encodeCertificate({ ...good, signature: other.signature });
}

/** An agent with a key for laptop>bastion, bastion>jump (by its CA), jump>target. */
async function withWay(t: ExecutionContext, ca: TestCa) {
  const byCa = { user: "", host: "jump", keys: [{ keyBlob: ca.keyBlob, isCa: true }] };
  return withKey(t, [
    { from: origin, to: bastion.hop },
    { from: bastion.hop, to: byCa },
    { from: byCa, to: target.hop },
  ]);
}

test("a key signs through a host with a certificate of the CA", async (t) => {
  for (const ca of [...keyTypes.map((type) => makeCa(type, 2)), makeCa("rsa", 4)]) {
    const { agent, blob } = await withWay(t, ca);
    const client = await agent.connect();
    await bind(client, bastion, "s1", true);
    await bind(client, jump, "s2", true, certify(ca));
    await bind(client, target, "s3", false);
    await t.notThrowsAsync(client.sign(blob, login("s3", "root", blob, target.key.keyBlob)));
  }
});

/** Asserts that binding a certificate of `jump` fails, and that the key signs nothing after it. */
async function isNoHop(t: ExecutionContext, ca: TestCa, certificate: Buffer, why: RegExp) {
  const { agent, blob } = await withWay(t, ca);
  const client = await agent.connect();
  await bind(client, bastion, "s1", true);
  await t.throwsAsync(bind(client, jump, "s2", true, certificate), refused);
  t.regex((await client.failureReason())?.sentence ?? "", why);
  await bind(client, target, "s3", false);
  t.false(await isListed(client));
  await isRefused(t, client, client.sign(blob, login("s3", "root", blob, target.key.keyBlob)));
}

test("a host certificate that the CA did not sign is refused", async (t) => {
  const ca = makeCa();
  await isNoHop(t, ca, forge(ca), /signature/);
});

test("a host certificate without principals is refused", async (t) => {
  const ca = makeCa();
  await isNoHop(t, ca, certify(ca, { principals: [] }), /principal/);
});

test("a host certificate has to be for hosts, and valid now", async (t) => {
  const ca = makeCa();
  await isNoHop(t, ca, certify(ca, { type: "user" }), /host certificate/);
  await isNoHop(t, ca, certify(ca, { validBefore: 1_800_000_000n }), /valid/);
  await isNoHop(t, ca, certify(ca, { validAfter: 1_800_000_001n }), /valid/);
  const option = { name: "force-command", data: Buffer.alloc(0) };
  await isNoHop(t, ca, certify(ca, { criticalOptions: [option] }), /critical option/);
});

test("a host certificate that was signed with SHA-1 or DSA is refused", async (t) => {
  const sha1 = makeCa("rsa", 0);
  await isNoHop(t, sha1, certify(sha1), /ssh-rsa/);

  const workspace = makeWorkspace(t);
  const run = async (program: string, args: string[]) =>
    t.is((await workspace.run(program, args)).status, 0);
  await run("ssh-keygen", ["-q", "-t", "dsa", "-N", "", "-f", "ca"]);
  const line = `ssh-ed25519 ${jump.key.keyBlob.toString("base64")} jump\n`;
  workspace.write("jump.pub", line);
  await run("ssh-keygen", ["-q", "-s", "ca", "-I", "jump", "-h", "-n", "jump", "jump.pub"]);
  const blobIn = (file: string) =>
    Buffer.from(readFileSync(workspace.path(file), "utf8").split(" ")[1] ?? "", "base64");
  const client = await (await startAgent(t)).connect();
  await t.throwsAsync(bind(client, jump, "s", false, blobIn("jump-cert.pub")), refused);
  t.regex((await client.failureReason())?.sentence ?? "", /DSA/);
});

/** Requests that fail to bind a connection. */
const failures: readonly [string, (client: AgentClient) => Promise<unknown>][] = [
  [
    "a byte too many",
    (client) => {
      const sessionId = Buffer.from("s1");
      const hostKey = bastion.key.keyBlob;
      const signature = bastion.key.sign(sessionId);
      const body = encodeSessionBind({ hostKey, sessionId, signature, isForwarding: false });
      const longer = Buffer.concat([body, Buffer.of(0)]);
      return client.extension("session-bind@openssh.com", longer);
    },
  ],
  ["nothing at all", (client) => client.extension("session-bind@openssh.com")],
  [
    "a key of a type that is not known",
    (client) => bind(client, bastion, "s1", false, Buffer.from("0000000178", "hex")),
  ],
  ["another host's key", (client) => bind(client, bastion, "s1", false, target.key.keyBlob)],
];

for (const [name, fail] of failures) {
  test(`a binding with ${name} counts: the connection is not local any more`, async (t) => {
    const { agent, blob } = await withKey(t, [{ from: origin, to: bastion.hop }]);
    const client = await agent.connect();
    t.true(await isListed(client));
    await t.throwsAsync(fail(client), refused);
    const shutOut = async () => {
      t.false(await isListed(client));
      await t.throwsAsync(client.removeIdentity(blob), refused);
      await isRefused(t, client, client.sign(blob, login("s1", "root", blob)));
      await t.throwsAsync(client.listProviders(), refused);
      t.is((await client.failureReason())?.code, "remote-refused");
      await t.throwsAsync(client.addSmartcardKey("/usr/lib/none.so", Buffer.from("1234")), refused);
      t.is((await client.failureReason())?.code, "remote-refused");
    };
    await shutOut();
    // A later binding does not tell which hosts are between this machine and that host.
    await bind(client, bastion, "s1", false);
    await shutOut();
    t.true(await isListed(await agent.connect()));
  });
}

test("a connection cannot remove all identities if it may not list some of them", async (t) => {
  const { agent, blob } = await withKey(t, [{ from: origin, to: bastion.hop }]);
  const local = await agent.connect();
  await local.addIdentity(generateKey("ed25519"), "free");
  const remote = await agent.connect();
  await bind(remote, target, "s1", true);
  await remote.removeAllIdentities();
  t.deepEqual(await remote.identities(), []);
  t.deepEqual(
    (await local.identities()).map(({ keyBlob }) => keyBlob),
    [blob],
  );
  await local.removeAllIdentities();
  t.deepEqual(await local.identities(), []);
});

test("a connection cannot add a key again that it may not list", async (t) => {
  const agent = await startAgent(t);
  const local = await agent.connect();
  const key = generateKey("ed25519");
  const blob = encodePublicKey(key.publicKey);
  const destinations = [{ from: origin, to: bastion.hop }];
  await local.addIdentity(key, "key", [{ type: "restrict-destination", destinations }]);
  const remote = await agent.connect();
  await bind(remote, target, "s1", false);
  await t.throwsAsync(remote.addIdentity(key, "mine now"), refused);
  t.is((await remote.failureReason())?.code, "destination-not-permitted");
  t.deepEqual(await remote.identities(), []);
  await isRefused(t, local, local.sign(blob, Buffer.from("data")));
  t.deepEqual(
    (await local.identities()).map(({ comment }) => comment),
    ["key"],
  );
  await local.addIdentity(key, "again");
  t.true((await local.sign(blob, Buffer.from("data"))).length > 0);
});

test("a connection does not replace certificates that it may not list", async (t) => {
  const agent = await startAgent(t);
  const local = await agent.connect();
  const key = generateKey("ed25519");
  const ca = makeCa();
  await local.addIdentity(key, "key");
  const older = ca.certify(key.publicKey);
  const destinations = [{ from: origin, to: bastion.hop }];
  const limited = { type: "restrict-destination", destinations } as const;
  const add = (client: AgentClient, certificate: Buffer, replace: boolean, comment = "") =>
    client.addCertificate({ certificate, comment, replace, constraints: [] });
  await local.addCertificate({
    certificate: older,
    comment: "limited",
    replace: false,
    constraints: [limited],
  });
  const remote = await agent.connect();
  await bind(remote, target, "s1", false);
  const comments = async (client: AgentClient) =>
    (await client.identities()).map(({ comment }) => comment);
  t.deepEqual(await comments(remote), ["key"]);
  await t.throwsAsync(add(remote, older, false), refused);
  t.is((await remote.failureReason())?.code, "destination-not-permitted");
  await add(remote, ca.certify(key.publicKey, { serial: 2n }), true, "newer");
  t.deepEqual(await comments(remote), ["newer", "key"]);
  t.deepEqual((await comments(local)).toSorted(), ["key", "limited", "newer"]);
});

test("the algorithm of a login has to be for the key's type", async (t) => {
  const agent = await startAgent(t);
  const local = await agent.connect();
  const names = {
    rsa: ["ssh-rsa", "rsa-sha2-256", "rsa-sha2-512"],
    nistp256: ["ecdsa-sha2-nistp256"],
    nistp384: ["ecdsa-sha2-nistp384"],
    nistp521: ["ecdsa-sha2-nistp521"],
    ed25519: ["ssh-ed25519"],
    "mldsa44-ed25519": ["ssh-mldsa44-ed25519@openssh.com"],
  };
  const all = Object.values(names).flat();
  const certified = (name: string) => `${name.replace(/@.*/, "")}-cert-v01@openssh.com`;
  const destinations = [{ from: origin, to: bastion.hop }];
  const client = await agent.connect();
  await bind(client, bastion, "s1", false);
  for (const type of keyTypes) {
    const key = generateKey(type);
    const constraints = [{ type: "restrict-destination", destinations }] as const;
    await local.addIdentity(key, type, constraints);
    const certificate = makeCa().certify(key.publicKey);
    await local.addIdentity({ ...key, certificate }, type, constraints);
    const blob = encodePublicKey(key.publicKey);
    for (const name of [...all, ...all.map(certified), "ssh-dss", "none"]) {
      const signs = (keyBlob: Buffer) =>
        client.sign(keyBlob, login("s1", "root", keyBlob, undefined, name)).then(
          () => true,
          () => false,
        );
      t.is(await signs(blob), names[type].includes(name), `${type} ${name}`);
      t.is(await signs(certificate), names[type].map(certified).includes(name), `${type} ${name}`);
    }
  }
});

test("a connection cannot load again or remove a library whose keys it may not list", async (t) => {
  const module = await makeHostileModule(makeWorkspace(t));
  const agent = await startAgent(t, { settings: { allowRemotePkcs11: true } });
  const local = await agent.connect();
  const pin = () => Buffer.from(hostilePin);
  const destinations = [{ from: origin, to: bastion.hop }];
  await local.addSmartcardKey(module.path, pin(), [{ type: "restrict-destination", destinations }]);
  const [identity] = await local.identities();
  const remote = await agent.connect();
  await bind(remote, target, "s1", false);
  t.deepEqual(await remote.identities(), []);
  for (const change of [
    () => remote.addSmartcardKey(module.path, pin()),
    () => remote.removeSmartcardKey(module.path),
    () => remote.removeAllProviders(),
  ]) {
    await t.throwsAsync(change(), refused);
    t.is((await remote.failureReason())?.code, "destination-not-permitted");
  }
  const blob = identity?.keyBlob ?? Buffer.alloc(0);
  await isRefused(t, local, local.sign(blob, Buffer.from("data")));
  await local.removeAllProviders();
  t.deepEqual(await local.identities(), []);
});
