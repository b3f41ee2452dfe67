import { createHash } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import {
  compositeBlob,
  compositeFile,
  compositeTranscript,
} from "../fixtures/vectors/mldsa44-ed25519.ts";
import { bytes } from "./arbitraries.ts";
import { certificateAlgorithm, plainAlgorithm } from "./certificate.ts";
import { Failure } from "./failure.ts";
import { fingerprint } from "./fingerprint.ts";
import { mlDsaPublicKey } from "./ml-dsa-key.ts";
import { identityBlob } from "./private-key.ts";
import {
  type CompositePublicKey,
  compositeAlgorithm,
  decodePublicKey,
  encodePublicKey,
  keyBits,
  keyTypeName,
  mlDsaLengths,
} from "./public-key.ts";
import { decodeReply, encodeReply } from "./replies.ts";
import { decodeRequest, encodeRequest } from "./requests.ts";
import { decodeSignature, encodeSignature } from "./signature.ts";
import { encodeCertificate } from "./test-certificates.ts";
import { verifyKeyOrCertificate, verifySignature } from "./verification.ts";
import { Reader, Writer } from "./wire.ts";

const malformed = { instanceOf: Failure, code: "malformed" };
const key = keyOf("key");
const exchanges = compositeTranscript();

function keyOf(name: string): CompositePublicKey {
  const decoded = decodePublicKey(compositeBlob(name));
  if (decoded?.type !== "mldsa44-ed25519") throw new Error(`${name} is no composite key`);
  return decoded;
}

/** What `ssh-keygen -Y sign` signed, and its signature blob (OpenSSH's PROTOCOL.sshsig). */
function signedFile(): { data: Buffer; signature: Buffer } {
  const armoured = compositeFile("message.sig").toString().split("\n").slice(1, -2).join("");
  const reader = new Reader(Buffer.from(armoured, "base64").subarray("SSHSIG".length));
  reader.uint32();
  reader.string();
  const [namespace, reserved, hash] = [reader.string(), reader.string(), reader.string()];
  const digest = createHash(hash.toString()).update(compositeFile("message")).digest();
  const writer = new Writer().bytes(Buffer.from("SSHSIG")).string(namespace).string(reserved);
  return { data: writer.string(hash).string(digest).finish(), signature: reader.string() };
}

test("decoding and encoding OpenSSH's messages gives the same bytes", (t) => {
  t.is(exchanges.length, 5);
  for (const { request, reply } of exchanges) {
    t.deepEqual(encodeRequest(decodeRequest(request)), request);
    t.deepEqual(encodeReply(decodeReply(reply)), reply);
  }
});

test("the messages add the key and its certificate, and sign with it", (t) => {
  const requests = exchanges.map(({ request }) => decodeRequest(request));
  const [added, certified, signed] = requests;
  if (added?.type !== "add-identity" || certified?.type !== "add-identity") return t.fail();
  t.deepEqual(identityBlob(added.key), compositeBlob("key"));
  t.deepEqual(identityBlob(certified.key), compositeBlob("key-cert"));
  t.deepEqual(certified.key.secret, added.key.secret);
  const { secret } = added.key;
  if (secret.type !== "mldsa44-ed25519") return t.fail();
  t.deepEqual(mlDsaPublicKey(secret.mlDsaSeed), key.mlDsa);
  const answer = decodeReply(exchanges[2]?.reply ?? Buffer.alloc(0));
  if (signed?.type !== "sign" || answer.type !== "signature") return t.fail();
  t.true(verifySignature(key, answer.signature, signed.data));
});

test("sizes, fingerprints and names are those of ssh-keygen", (t) => {
  const line = (name: string, hash: "sha256" | "md5") => {
    const { key, keyBlob, certificate } = verifyKeyOrCertificate(compositeBlob(name));
    const type = `${keyTypeName(key)}${certificate ? "-CERT" : ""}`;
    return `${keyBits(key)} ${fingerprint(keyBlob, hash)} pq key (${type})`;
  };
  const lines = [line("key", "sha256"), line("key", "md5"), line("key-cert", "sha256")];
  t.is(`${lines.join("\n")}\n`, compositeFile("fingerprints.txt").toString());
});

test("a certificate's algorithm and its key's belong together", (t) => {
  const algorithm = "ssh-mldsa44-ed25519-cert-v01@openssh.com";
  t.is(certificateAlgorithm(key), algorithm);
  t.is(plainAlgorithm(algorithm), compositeAlgorithm);
});

test("certificates of and by composite keys are valid, and invalid when they are changed", (t) => {
  for (const [name, keyId] of [
    ["key-cert", "pq cert"],
    ["by-pq-ca-cert", "by a pq ca"],
  ] as const) {
    const blob = compositeBlob(name);
    const { certificate, keyBlob } = verifyKeyOrCertificate(blob);
    if (certificate === undefined) return t.fail();
    t.deepEqual(encodeCertificate(certificate), blob);
    t.deepEqual(keyBlob, compositeBlob("key"));
    t.is(certificate.keyId, keyId);
    const changed = encodeCertificate({ ...certificate, serial: certificate.serial + 1n });
    t.throws(() => verifyKeyOrCertificate(changed), malformed);
  }
  const { caKey } = verifyKeyOrCertificate(compositeBlob("by-pq-ca-cert")).certificate ?? {};
  t.deepEqual(caKey, compositeBlob("pq-ca"));
});

test("a signature of ssh-keygen is valid for its data and key only", (t) => {
  const { data, signature } = signedFile();
  t.true(verifySignature(key, signature, data));
  t.false(verifySignature(key, signature, data.subarray(1)));
  t.false(verifySignature(keyOf("pq-ca"), signature, data));
  t.false(verifySignature({ type: "ed25519", publicKey: key.ed25519 }, signature, data));
});

test("both halves of a signature must be valid, for the same data", (t) => {
  const { data, signature } = signedFile();
  const { raw } = decodeSignature(signature);
  const request = decodeRequest(exchanges[2]?.request ?? Buffer.alloc(0));
  const reply = decodeReply(exchanges[2]?.reply ?? Buffer.alloc(0));
  if (request.type !== "sign" || reply.type !== "signature") return t.fail();
  const other = decodeSignature(reply.signature).raw;
  const place = mlDsaLengths.signature;
  const mixed = [
    Buffer.concat([raw.subarray(0, place), other.subarray(place)]),
    Buffer.concat([other.subarray(0, place), raw.subarray(place)]),
  ];
  for (const both of mixed) {
    const blob = encodeSignature(compositeAlgorithm, both);
    t.false(verifySignature(key, blob, data));
    t.false(verifySignature(key, blob, request.data));
  }
  fc.assert(
    fc.property(fc.nat({ max: raw.length - 1 }), fc.nat({ max: 7 }), (at, bit) => {
      const changed = Buffer.from(raw);
      changed[at] = (changed[at] as number) ^ (1 << bit);
      t.false(verifySignature(key, encodeSignature(compositeAlgorithm, changed), data));
    }),
    { numRuns: 20 },
  );
});

test("a key, private key or signature of another length is malformed", (t) => {
  const blob = (value: Buffer) => new Writer().text(compositeAlgorithm).string(value).finish();
  fc.assert(
    fc.property(fc.nat({ max: 2 * 1344 }), (length) => {
      fc.pre(length !== 1344);
      t.throws(() => decodePublicKey(blob(Buffer.alloc(length))), malformed);
    }),
  );
  fc.assert(
    fc.property(fc.nat({ max: 2 * 2484 }), (length) => {
      fc.pre(length !== 2484);
      t.throws(() => decodeSignature(blob(Buffer.alloc(length))), malformed);
    }),
  );
  fc.assert(
    fc.property(bytes(130), (seeds) => {
      fc.pre(seeds.length !== 64);
      const plain = new Writer().byte(17).bytes(encodePublicKey(key));
      t.throws(() => decodeRequest(plain.string(seeds).text("").finish()), malformed);
    }),
  );
});
