/** Verification of signatures, certificates and session bindings. */
import { createHash, type KeyObject, verify } from "node:crypto";
import {
  type Certificate,
  parseKeyOrCertificate,
  type VerifiedCertificate,
} from "./certificate.ts";
import type { SessionBind } from "./extensions/session-bind.ts";
import { invalidCertificate, malformed, unknownAlgorithm } from "./failure.ts";
import { toKeyObject } from "./key-object.ts";
import {
  algorithmName,
  blobAlgorithm,
  decodePublicKey,
  type PublicKey,
  type SkEcdsaPublicKey,
  type SkEd25519PublicKey,
} from "./public-key.ts";
import {
  decodeSignature,
  padLeft,
  readEcdsaSignature,
  type SignatureAlgorithm,
  signatureHashes,
} from "./signature.ts";
import { Reader, Writer } from "./wire.ts";

/**
 * Whether `blob` is a valid signature by `key` over `data`. A malformed signature and one of another
 * algorithm are invalid, not errors.
 * @param object a cached `toKeyObject(key)`, which takes longer than to verify; ignored for FIDO keys
 */
export function verifySignature(
  key: PublicKey,
  blob: Uint8Array,
  data: Uint8Array,
  object?: KeyObject,
): boolean {
  try {
    if (key.type === "sk-ecdsa" || key.type === "sk-ed25519") {
      return verifySkSignature(key, blob, data);
    }
    const { algorithm, raw } = decodeSignature(blob);
    if (!isAlgorithmOf(key, algorithm)) return false;
    const padded = key.type === "rsa" ? padLeft(raw, key.n.length) : raw;
    const verifier = { key: object ?? toKeyObject(key), dsaEncoding: "ieee-p1363" } as const;
    return verify(signatureHashes[algorithm], data, verifier, padded);
  } catch {
    return false;
  }
}

/** A valid key or certificate, as `verifyKeyOrCertificate` returns it. */
export interface VerifiedKey {
  /** The plain key. */
  readonly key: PublicKey;
  /** The plain key's blob. */
  readonly keyBlob: Buffer;
  readonly certificate: VerifiedCertificate | undefined;
}

/**
 * Decodes a key or certificate blob as strictly as OpenSSH, whose clients fail on a whole list of
 * identities with one invalid entry: the key must be valid, and a certificate's signature must be that
 * of its CA. The result's buffers are views of `blob`. Validity period and trust in the CA are left to
 * the caller.
 * @throws {Failure} malformed; unsupported, for an unknown key type
 */
export function verifyKeyOrCertificate(blob: Uint8Array): VerifiedKey {
  const parsed = parseKeyOrCertificate(blob);
  if (parsed === undefined) throw unknownAlgorithm(blobAlgorithm(blob));
  const { key, keyBlob, certificate } = parsed;
  toKeyObject(key); // throws for an invalid key
  if (certificate === undefined) return { key, keyBlob, certificate };
  if (isSigned(certificate, blob)) return { key, keyBlob, certificate };
  throw invalidCertificate("Invalid CA signature on the certificate.");
}

/**
 * Verifies that the host key signed the session identifier. @returns the host key
 * @throws {Failure} malformed, unsupported
 */
export function verifySessionBind(bind: SessionBind): VerifiedKey {
  const host = verifyKeyOrCertificate(bind.hostKey);
  if (verifySignature(host.key, bind.signature, bind.sessionId)) return host;
  throw malformed("Invalid signature of the host key on the session identifier.");
}

function isSigned(certificate: Certificate, blob: Uint8Array): certificate is VerifiedCertificate {
  const caKey = decodePublicKey(certificate.caKey);
  const signed = blob.subarray(0, blob.length - 4 - certificate.signature.length);
  return caKey !== undefined && verifySignature(caKey, certificate.signature, signed);
}

/**
 * Whether `blob` is a valid signature by a FIDO key over `data` (OpenSSH's PROTOCOL.u2f).
 * @throws {Failure} malformed
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
  return verify("sha256", signed, verifier, readEcdsaSignature(signature, 32));
}

function isAlgorithmOf(key: PublicKey, algorithm: SignatureAlgorithm): boolean {
  if (key.type === "rsa" && algorithm.startsWith("rsa-sha2-")) return true;
  return algorithm === algorithmName(key);
}
