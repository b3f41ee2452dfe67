/** Verifying signatures: of keys, of the CAs of certificates, of hosts over sessions. */
import { createHash, verify } from "node:crypto";
import { type Certificate, decodeCertificate, type VerifiedCertificate } from "./certificate.ts";
import type { SessionBind } from "./extensions/session-bind.ts";
import { invalidCertificate, malformed, unknownAlgorithm } from "./failure.ts";
import { toKeyObject } from "./key-object.ts";
import {
  algorithmName,
  blobAlgorithm,
  decodePublicKey,
  encodePublicKey,
  type PublicKey,
  type SkEcdsaPublicKey,
  type SkEd25519PublicKey,
} from "./public-key.ts";
import {
  decodeSignature,
  padLeft,
  readPair,
  type SignatureAlgorithm,
  signatureHash,
} from "./signature.ts";
import { Reader, Writer } from "./wire.ts";

/**
 * Whether `blob` is a signature by `key` over `data`. A blob that is no signature, an algorithm that
 * is not the key's and a wrong signature are all just false.
 */
export function verifySignature(key: PublicKey, blob: Uint8Array, data: Uint8Array): boolean {
  try {
    if (key.type === "sk-ecdsa" || key.type === "sk-ed25519") {
      return verifySkSignature(key, blob, data);
    }
    const { algorithm, raw } = decodeSignature(blob);
    if (!belongs(key, algorithm)) return false;
    const padded = key.type === "rsa" ? padLeft(raw, key.n.length) : raw;
    const verifier = { key: toKeyObject(key), dsaEncoding: "ieee-p1363" } as const;
    return verify(signatureHash(algorithm), data, verifier, padded);
  } catch {
    return false;
  }
}

/** What a valid key blob or certificate blob says: see `verifyKeyOrCertificate`. */
export interface VerifiedKey {
  /** The plain key. */
  readonly key: PublicKey;
  /** The plain key's blob. */
  readonly keyBlob: Buffer;
  readonly certificate: VerifiedCertificate | undefined;
}

/**
 * Reads a plain key's blob or a certificate's as strictly as OpenSSH does, whose clients fail on a
 * whole list with one that they cannot read: the numbers make a key, and the CA has signed. What is
 * returned are views of `blob`.
 * @throws {Failure} malformed; unsupported, for a key type that is not known here
 */
export function verifyKeyOrCertificate(blob: Uint8Array): VerifiedKey {
  const certificate = decodeCertificate(blob);
  const key = certificate?.key ?? decodePublicKey(blob);
  if (key === undefined) throw unknownAlgorithm(blobAlgorithm(blob));
  toKeyObject(key);
  const keyBlob = encodePublicKey(key);
  if (certificate === undefined) return { key, keyBlob, certificate };
  if (isSigned(certificate, blob)) return { key, keyBlob, certificate };
  throw invalidCertificate("The certificate's signature is not that of its CA.");
}

/**
 * The host that a connection is bound to, once it is verified that its key signed the session
 * identifier.
 * @throws {Failure} malformed, unsupported
 */
export function verifySessionBind(bind: SessionBind): VerifiedKey {
  const host = verifyKeyOrCertificate(bind.hostKey);
  if (verifySignature(host.key, bind.signature, bind.sessionId)) return host;
  throw malformed("The host key did not sign the session.");
}

function isSigned(certificate: Certificate, blob: Uint8Array): certificate is VerifiedCertificate {
  const caKey = decodePublicKey(certificate.caKey);
  const signed = blob.subarray(0, blob.length - 4 - certificate.signature.length);
  return caKey !== undefined && verifySignature(caKey, certificate.signature, signed);
}

/**
 * Whether `blob` is a signature by a FIDO authenticator's `key` over `data` (OpenSSH's PROTOCOL.u2f).
 * @throws {Failure} malformed, when the blob is no signature
 */
function verifySkSignature(
  key: SkEcdsaPublicKey | SkEd25519PublicKey,
  blob: Uint8Array,
  data: Uint8Array,
): boolean {
  const reader = new Reader(blob);
  if (reader.name() !== algorithmName(key)) return false;
  const signature = reader.string();
  const flags = reader.byte();
  const counter = reader.uint32();
  reader.end();
  const hash = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest();
  const signed = new Writer()
    .bytes(hash(key.application))
    .byte(flags)
    .uint32(counter)
    .bytes(hash(data))
    .finish();
  const verifier = { key: toKeyObject(key), dsaEncoding: "ieee-p1363" } as const;
  if (key.type === "sk-ed25519") return verify(null, signed, verifier, signature);
  return verify("sha256", signed, verifier, readPair(signature, 32));
}

function belongs(key: PublicKey, algorithm: SignatureAlgorithm): boolean {
  switch (key.type) {
    case "rsa":
      return algorithm === "ssh-rsa" || algorithm.startsWith("rsa-sha2-");
    case "ecdsa":
      return algorithm === `ecdsa-sha2-${key.curve}`;
    case "ed25519":
      return algorithm === "ssh-ed25519";
    case "dsa":
      return algorithm === "ssh-dss";
    case "sk-ecdsa":
    case "sk-ed25519":
      return false;
  }
}
