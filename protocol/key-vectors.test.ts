import test from "ava";
import { publicKeys } from "../fixtures/vectors/index.ts";
import {
  type Certificate,
  type CertificateOption,
  certificateAlgorithm,
  decodeCertificate,
  forever,
  parseKeyOrCertificate,
} from "./certificate.ts";
import { Failure } from "./failure.ts";
import { fingerprint } from "./fingerprint.ts";
import {
  decodePublicKey,
  encodePublicKey,
  type FingerprintHash,
  keyBits,
  keyTypeName,
  type PublicKey,
} from "./public-key.ts";
import { decodeSignature } from "./signature.ts";
import { encodeCertificate } from "./test-certificates.ts";
import { verifyKeyOrCertificate } from "./verification.ts";
import { Reader, Writer } from "./wire.ts";

const keys = publicKeys();
const certificates = keys.filter(({ details }) => details !== undefined);

test("there are keys and certificates of all types but DSA", (t) => {
  const algorithms = new Set(keys.map(({ blob }) => new Reader(blob).name()));
  const algorithmsOfKeys = [
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "ssh-ed25519",
    "sk-ecdsa-sha2-nistp256",
    "sk-ssh-ed25519",
  ];
  const openssh = (name: string) => (name.startsWith("sk-") ? `${name}@openssh.com` : name);
  const certified = algorithmsOfKeys.map((name) => `${name}-cert-v01@openssh.com`);
  t.deepEqual([...algorithms].sort(), [...algorithmsOfKeys.map(openssh), ...certified].sort());
});

for (const { name, blob, comment, sha256, md5 } of keys) {
  test(`${name}: size, fingerprints and type are those of ssh-keygen`, (t) => {
    t.is(shortLine(blob, comment, "sha256"), sha256);
    t.is(shortLine(blob, comment, "md5"), md5);
  });

  test(`${name}: decoding and encoding give the same bytes`, (t) => {
    const certificate = decodeCertificate(blob);
    const key = decodePublicKey(blob);
    t.is(certificate === undefined, !name.endsWith("-cert"));
    t.is(key === undefined, name.endsWith("-cert"));
    if (certificate !== undefined) t.deepEqual(encodeCertificate(certificate), blob);
    if (key !== undefined) t.deepEqual(encodePublicKey(key), blob);
  });
}

for (const { name, blob, details } of certificates) {
  test(`${name}: the fields are those of ssh-keygen`, (t) => {
    t.is(`${name}.pub:\n${describe(certificateOf(blob))}`, details ?? "");
  });

  test(`${name}: the CA's signature is valid, and invalid after any change`, (t) => {
    t.truthy(verifyKeyOrCertificate(blob).certificate);
    for (const at of [100, blob.length - 1]) {
      const changed = Buffer.from(blob);
      changed.writeUInt8(blob.readUInt8(at) ^ 1, at);
      t.throws(() => verifyKeyOrCertificate(changed), { instanceOf: Failure }, `byte ${at}`);
    }
  });
}

test("the key of a certificate is the plain key", (t) => {
  const blobs = new Map(keys.map(({ name, blob }) => [name, blob]));
  for (const { name, blob } of certificates) {
    const plain = blobs.get(name.replace("-cert", ""));
    if (plain !== undefined) t.deepEqual(parseKeyOrCertificate(blob)?.keyBlob, plain, name);
  }
});

test("leading zeros of an RSA key's values do not change its blob", (t) => {
  const { blob = Buffer.alloc(0) } = keys.find(({ name }) => name === "rsa-3071") ?? {};
  const reader = new Reader(blob);
  const writer = new Writer().text(reader.name());
  while (reader.remaining > 0) writer.string(Buffer.concat([Buffer.alloc(2), reader.string()]));
  t.deepEqual(parseKeyOrCertificate(writer.finish())?.keyBlob, blob);
});

/** The output of `ssh-keygen -l`. */
function shortLine(blob: Buffer, comment: string, hash: FingerprintHash): string {
  const parsed = parseKeyOrCertificate(blob);
  if (parsed === undefined) throw new Error("unknown algorithm");
  const { key, keyBlob, certificate } = parsed;
  const type = keyTypeName(key) + (certificate === undefined ? "" : "-CERT");
  return `${keyBits(key)} ${fingerprint(keyBlob, hash)} ${comment} (${type})`;
}

/** The output of `ssh-keygen -L` without its first line. */
function describe(certificate: Certificate): string {
  const { key, serial, type, keyId, principals, caKey, signature } = certificate;
  const ca = decodePublicKey(caKey);
  if (ca === undefined) throw new Error("unknown type of CA key");
  const { algorithm } = decodeSignature(signature);
  const lines = [
    `Type: ${certificateAlgorithm(key)} ${type} certificate`,
    `Public key: ${keyTypeName(key)}-CERT ${fingerprintOf(key)}`,
    `Signing CA: ${keyTypeName(ca)} ${fingerprintOf(ca)} (using ${algorithm})`,
    `Key ID: "${keyId}"`,
    `Serial: ${serial}`,
    `Valid: ${validity(certificate)}`,
    ...block("Principals", principals),
    ...block("Critical Options", certificate.criticalOptions.map(describeOption)),
    ...block("Extensions", certificate.extensions.map(describeOption)),
  ];
  return lines.map((line) => `        ${line}\n`).join("");
}

function fingerprintOf(key: PublicKey): string {
  return fingerprint(encodePublicKey(key));
}

function validity({ validAfter, validBefore }: Certificate): string {
  const time = (seconds: bigint) => new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  if (validBefore !== forever) return `from ${time(validAfter)} to ${time(validBefore)}`;
  return validAfter === 0n ? "forever" : `after ${time(validAfter)}`;
}

function block(title: string, lines: readonly string[]): string[] {
  if (lines.length === 0) return [`${title}: (none)`];
  return [`${title}: `, ...lines.map((line) => `        ${line}`)];
}

/** Options with a string that OpenSSH 9.2 knows. */
const withString = new Set(["force-command", "source-address"]);

function describeOption({ name, data }: CertificateOption): string {
  if (withString.has(name)) return `${name} ${new Reader(data).text()}`;
  if (!name.includes("@")) return name;
  if (data.length === 0) return `${name} UNKNOWN FLAG OPTION`;
  return `${name} UNKNOWN OPTION: ${data.toString("hex")} (len ${data.length})`;
}

function certificateOf(blob: Buffer): Certificate {
  const certificate = decodeCertificate(blob);
  if (certificate === undefined) throw new Error("not a certificate");
  return certificate;
}
