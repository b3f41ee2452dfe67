/**
 * The agent accepts nothing that makes its list unreadable: OpenSSH's clients fail on the whole list if
 * they cannot parse one identity, and then no key works.
 */

import { generateKeyPairSync } from "node:crypto";
import test, { type ExecutionContext } from "ava";
import { makeHostileModule } from "../fixtures/hostile-module/index.ts";
import { systemSshAdd } from "../fixtures/system-programs.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import type { Certificate } from "../protocol/certificate.ts";
import { type AgentClient, AgentRefusal } from "../protocol/client.ts";
import { signatureFlags } from "../protocol/numbers.ts";
import type { PrivateKey } from "../protocol/private-key.ts";
import { encodePublicKey } from "../protocol/public-key.ts";
import { encodeCertificate, signedPart } from "../protocol/test-certificates.ts";
import { Writer } from "../protocol/wire.ts";
import { generateKey, makeCa, refused, startAgent, unsignedCertificate } from "./test-agent.ts";

const bytesOf = (text: string | undefined) => Buffer.from(text ?? "", "base64url");
const key = generateKey("ed25519");
const ca = makeCa();

/** A certificate of `key`, with any fields. */
function certify(fields: Partial<Certificate>, by = ca): Buffer {
  return by.certify(key.publicKey, fields);
}

/** A CA with an RSA key of any length. */
const rsaCa = (bits: number) => makeCa("rsa", signatureFlags.rsaSha256, bits);

const unsigned = { ...unsignedCertificate(key.publicKey, ca.keyBlob), keyId: "id" };

/** A certificate that was changed before the CA signed it. */
function patched(change: (unsigned: Buffer) => Buffer): Buffer {
  const changed = change(signedPart(unsigned));
  return Buffer.concat([changed, new Writer().string(ca.sign(changed)).finish()]);
}

const principals = (count: number) => Array.from({ length: count }, (_, index) => `p${index}`);
const empty = Buffer.alloc(0);

/** Certificates, and whether OpenSSH can parse them. */
const certificates: readonly [string, boolean, () => Buffer][] = [
  ["256 principals", true, () => certify({ principals: principals(256) })],
  ["257 principals", false, () => certify({ principals: principals(257) })],
  ["no principals", true, () => certify({ principals: [] })],
  ["a NUL in the key ID", false, () => certify({ keyId: "a\0b" })],
  ["a NUL at the end of the key ID", true, () => certify({ keyId: "ab\0" })],
  ["a NUL in a principal", false, () => certify({ principals: ["root", "a\0b"] })],
  ["a NUL at the end of a principal", true, () => certify({ principals: ["root\0"] })],
  ["a key ID that is no UTF-8", true, () => certify({ keyId: "\udcff\udc80" })],
  ["a key ID of 60,000 bytes", true, () => certify({ keyId: "i".repeat(60_000) })],
  ["a time that ends before it begins", true, () => certify({ validAfter: 1_999_999_999n })],
  ["something reserved", true, () => certify({ reserved: Buffer.from("later") })],
  ["no nonce", true, () => certify({ nonce: empty })],
  [
    "an option without a name",
    true,
    () => certify({ criticalOptions: [{ name: "", data: empty }] }),
  ],
  ["an extension with a NUL", true, () => certify({ extensions: [{ name: "a\0b", data: empty }] })],
  ["a CA key of RSA with 1,024 bits", true, () => certify({}, rsaCa(1024))],
  ["a CA key of RSA with 1,016 bits", false, () => certify({}, rsaCa(1016))],
  ["a CA's signature with SHA-1", true, () => certify({}, makeCa("rsa", 0))],
  [
    "a CA key of an unknown type",
    false,
    () => certify({ caKey: Buffer.from("0000000178", "hex") }),
  ],
  ["no CA key", false, () => certify({ caKey: empty })],
  ["a CA key that is a certificate", false, () => certify({ caKey: certify({}) })],
  [
    "bytes behind the CA key",
    false,
    () => certify({ caKey: Buffer.concat([ca.keyBlob, Buffer.of(0)]) }),
  ],
  ["another CA's signature", false, () => certify({ caKey: makeCa().keyBlob })],
  ["no signature", false, () => encodeCertificate({ ...unsigned, signature: empty })],
  [
    "a type that is neither user nor host",
    false,
    () =>
      patched((bytes) => {
        bytes.writeUInt32BE(3, bytes.indexOf("00000001000000026964", 0, "hex"));
        return bytes;
      }),
  ],
  ["bytes behind the signature", false, () => Buffer.concat([certify({}), Buffer.of(0)])],
];

/** The number of identities that the system's ssh-add lists. */
type Count = () => Promise<number>;

async function prepare(t: ExecutionContext) {
  const workspace = makeWorkspace(t);
  const agent = await startAgent(t);
  const client = await agent.connect();
  await client.addIdentity(generateKey("ed25519"), "a key for logins");
  const count: Count = async () => {
    const env = { ...workspace.env, SSH_AUTH_SOCK: agent.path, LC_ALL: "C" };
    const { status, stdout, stderr } = await workspace.run(systemSshAdd(), ["-l"], { env });
    t.is(status, 0, stderr);
    return stdout.trimEnd().split("\n").length;
  };
  return { workspace, agent, client, count };
}

/** Adds something, and asks the system's ssh-add for the list; undefined where either is good. */
async function adds(
  t: ExecutionContext,
  count: Count,
  client: AgentClient,
  name: string,
  isReadable: boolean | undefined,
  add: () => Promise<unknown>,
): Promise<void> {
  const before = await count();
  const refusal = await add().then(
    () => undefined,
    (error: unknown) => error,
  );
  if (refusal !== undefined) t.true(refusal instanceof AgentRefusal, name);
  if (isReadable !== undefined) t.is(refusal === undefined, isReadable, name);
  t.is(await count(), refusal === undefined ? before + 1 : before, name);
  if (refusal === undefined) return;
  const reason = await client.failureReason();
  t.not(reason?.code, "internal", name);
  t.notRegex(reason?.hint ?? "", /client/, name);
}

test("certificates that OpenSSH cannot read are refused, with their key", async (t) => {
  const { client, count } = await prepare(t);
  for (const [name, isReadable, make] of certificates) {
    const certificate = make();
    const add = () => client.addIdentity({ ...key, certificate }, "certified");
    await adds(t, count, client, name, isReadable, add);
    await client.removeIdentity(certificate).catch(() => undefined);
  }
});

test("certificates that OpenSSH cannot read are refused, for a key that is there", async (t) => {
  const { client, count } = await prepare(t);
  await client.addIdentity(key, "key");
  for (const [name, isReadable, make] of certificates) {
    const certificate = make();
    const request = { certificate, comment: "", replace: false, constraints: [] };
    const add = () => client.addCertificate(request);
    await adds(t, count, client, name, isReadable, add);
    await client.removeIdentity(certificate).catch(() => undefined);
  }
});

test("certificates that OpenSSH cannot read are refused, for keys of a card", async (t) => {
  const { workspace, client, count } = await prepare(t);
  const module = await makeHostileModule(workspace);
  for (const [name, isReadable, make] of certificates) {
    const constraint = {
      type: "associated-certs",
      certsOnly: false,
      certificates: [make()],
    } as const;
    const add = () => client.addSmartcardKey(module.path, Buffer.from("1234"), [constraint]);
    await adds(t, count, client, name, isReadable, add);
    await client.removeAllProviders();
  }
});

/** Keys on authenticators, which are not used when they are added. */
function skKey(fields: Partial<{ application: string; point: Buffer }>): PrivateKey {
  const { application = "ssh:", point } = fields;
  const secret = { flags: 1, keyHandle: Buffer.from("handle"), reserved: empty };
  if (point === undefined) {
    const publicKey = { type: "sk-ed25519", publicKey: Buffer.alloc(32, 7), application } as const;
    return { publicKey, secret: { type: "sk-ed25519", ...secret }, certificate: undefined };
  }
  const publicKey = { type: "sk-ecdsa", curve: "nistp256", point, application } as const;
  return { publicKey, secret: { type: "sk-ecdsa", ...secret }, certificate: undefined };
}

const goodPoint = (() => {
  const { publicKey } = generateKey("nistp256");
  return publicKey.type === "ecdsa" ? publicKey.point : empty;
})();

const keys: readonly [string, boolean, () => PrivateKey][] = [
  ["a point of its curve", true, () => skKey({ point: goodPoint })],
  [
    "a point that is not on its curve",
    false,
    () => skKey({ point: Buffer.concat([Buffer.of(4), Buffer.alloc(64, 1)]) }),
  ],
  [
    "coordinates beyond the field",
    false,
    () => skKey({ point: Buffer.concat([Buffer.of(4), Buffer.alloc(64, 0xff)]) }),
  ],
  [
    "a compressed point",
    false,
    () => skKey({ point: Buffer.concat([Buffer.of(2), Buffer.alloc(32, 1)]) }),
  ],
  ["no point", false, () => skKey({ point: empty })],
  ["an application", true, () => skKey({ application: "ssh:x" })],
  ["no application", true, () => skKey({ application: "" })],
  ["a NUL in the application", false, () => skKey({ application: "ssh:\0x" })],
  ["a NUL at the end of the application", true, () => skKey({ application: "ssh:y\0" })],
];

test("OpenSSH before 10.4 leaves out post-quantum keys and their certificates", async (t) => {
  const { client, count } = await prepare(t);
  const composite = generateKey("mldsa44-ed25519");
  for (const certificate of [
    undefined,
    ca.certify(composite.publicKey),
    makeCa("mldsa44-ed25519").certify(composite.publicKey),
  ]) {
    await client.addIdentity({ ...composite, certificate }, "composite");
    const listed = await count();
    t.true([1, (await client.identities()).length].includes(listed), `${listed}`);
  }
});

test("keys on authenticators that OpenSSH cannot read are refused", async (t) => {
  const { client, count } = await prepare(t);
  for (const [name, isReadable, make] of keys) {
    const add = () => client.addIdentity(make(), "sk");
    await adds(t, count, client, name, isReadable, add);
  }
});

test("an RSA key below 1,024 bits is refused", async (t) => {
  const { client, count } = await prepare(t);
  for (const [bits, isReadable] of [
    [1024, true],
    [1023, false],
    [1016, false],
  ] as const) {
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: bits });
    const jwk = privateKey.export({ format: "jwk" });
    const [n, e, d, iqmp, p, q] = [jwk.n, jwk.e, jwk.d, jwk.qi, jwk.p, jwk.q].map(bytesOf);
    const rsa = {
      publicKey: { type: "rsa", n: n ?? empty, e: e ?? empty },
      secret: { type: "rsa", d: d ?? empty, iqmp: iqmp ?? empty, p: p ?? empty, q: q ?? empty },
      certificate: undefined,
    } as const;
    const add = () => client.addIdentity(rsa, "rsa");
    await adds(t, count, client, `${bits} bits`, isReadable, add);
  }
});

const comments: readonly [string, boolean, string][] = [
  ["nothing", true, ""],
  ["bytes that are no UTF-8", true, "\udcff\udcfe"],
  ["control characters", true, "\x1b[2J\x07"],
  ["a NUL within", false, "a\0b"],
  ["a NUL at the end", true, "ab\0"],
  ["nothing but a NUL", true, "\0"],
  ["100,000 characters", true, "x".repeat(100_000)],
  ["200,000 characters, which are too many with the others", false, "y".repeat(200_000)],
];

test("comments that OpenSSH cannot read are refused", async (t) => {
  const { client, count } = await prepare(t);
  for (const [name, isReadable, comment] of comments) {
    const add = () => client.addIdentity(generateKey("ed25519"), comment);
    await adds(t, count, client, name, isReadable, add).catch((error) => t.fail(String(error)));
  }
  t.is((await client.failureReason())?.code, "too-large");
});

test("identities are refused when the list would be too long", async (t) => {
  const { client, count } = await prepare(t);
  const add = async (index: number, comment: string) => {
    const publicKey = {
      type: "sk-ed25519",
      publicKey: Buffer.alloc(32),
      application: "ssh:",
    } as const;
    publicKey.publicKey.writeUInt32BE(index);
    await client.addIdentity({ ...skKey({}), publicKey }, comment);
  };
  for (let index = 1; index < 2048; index++) await add(index, "");
  t.is(await count(), 2048);
  await t.throwsAsync(add(2048, ""), refused);
  t.is((await client.failureReason())?.code, "too-large");
  await t.notThrowsAsync(add(1, "another comment"));
  await t.throwsAsync(add(1, "x".repeat(200_000)), refused);
  t.is(await count(), 2048);
  // With a certificate the list would be as long.
  const [first] = await client.identities();
  await client.removeIdentity(first?.keyBlob ?? empty);
  await client.addIdentity(key, "");
  const request = { certificate: certify({}), comment: "", replace: false, constraints: [] };
  await t.throwsAsync(client.addCertificate(request), refused);
  t.is((await client.failureReason())?.code, "too-large");
  await client.removeIdentity(encodePublicKey(key.publicKey));
  t.is(await count(), 2047);
});

test("numbers are as long as OpenSSH accepts, and destinations name keys", async (t) => {
  const { client, count } = await prepare(t);
  const destinations = (keyBlob: Buffer) => [
    {
      from: { user: "", host: "", keys: [] },
      to: { user: "", host: "host", keys: [{ keyBlob, isCa: false }] },
    },
  ];
  const limited = (keyBlob: Buffer) => () =>
    client.addIdentity(generateKey("ed25519"), "limited", [
      { type: "restrict-destination", destinations: destinations(keyBlob) },
    ]);
  await adds(t, count, client, "a host's key", true, limited(ca.keyBlob));
  await adds(t, count, client, "a host's certificate", true, limited(certify({ type: "host" })));
  await adds(t, count, client, "another certificate", false, limited(certify({ keyId: "a\0b" })));
  const long = (bytes: number) =>
    new Writer().text("ssh-rsa").mpint(Buffer.of(3)).string(Buffer.alloc(bytes, 1)).finish();
  await adds(t, count, client, "16,377 bits", true, limited(long(2048)));
  await t.throwsAsync(limited(long(2049))(), { instanceOf: AgentRefusal });
  await t.throwsAsync(limited(Buffer.from("0000000178", "hex"))(), { instanceOf: AgentRefusal });
  t.is((await client.failureReason())?.code, "unsupported");
});
