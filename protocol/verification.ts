/** Signatures verified: those of keys, of authorities in certificates, of hosts over sessions. */
import { createHash, verify } from "node:crypto";
import { decodeCertificate, identify } from "./certificate.ts";
import type { SessionBind } from "./extensions/session-bind.ts";
import { toKeyObject } from "./key-object.ts";
import {
  algorithmName,
  decodePublicKey,
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

/**
 * Whether the CA's signature in a certificate blob is the CA key's over this certificate. It says
 * nothing of the certificate's time or of trust in the CA.
 * @throws {Failure} malformed
 */
export function verifyCertificate(blob: Uint8Array): boolean {
  const certificate = decodeCertificate(blob);
  if (certificate === undefined) return false;
  const caKey = decodePublicKey(certificate.caKey);
  if (caKey === undefined) return false;
  const signed = blob.subarray(0, blob.length - 4 - certificate.signature.length);
  return verifySignature(caKey, certificate.signature, signed);
}

/** Whether the host key really signed the session identifier. @throws {Failure} malformed */
export function verifySessionBind(bind: SessionBind): boolean {
  const host = identify(bind.hostKey);
  return host !== undefined && verifySignature(host.key, bind.signature, bind.sessionId);
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
