/** Verification of signatures, certificates and session bindings. */
import { createHash, type KeyObject, verify } from "node:crypto";
import {
  type Certificate,
  parseKeyOrCertificate,
  type VerifiedCertificate,
} from "./certificate.ts";
import { verifyComposite } from "./composite.ts";
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
 * @param object a cached `toKeyObject(key)`, which takes longer than to verify; ignored for FIDO and
 *   composite keys
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
    if (key.type === "mldsa44-ed25519") return verifyComposite(key, raw, data);
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
  // It throws for an invalid key; any two public keys make a composite one.
  if (key.type !== "mldsa44-ed25519") toKeyObject(key);
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
  const algorithm = reader.name();
  const isWebauthn = key.type === "sk-ecdsa" && webauthnAlgorithms.includes(algorithm);
  if (!isWebauthn && algorithm !== algorithmName(key)) return false;
  const signature = reader.string();
  const flags = reader.byte();
  const counter = reader.uint32();
  const content = isWebauthn
    ? readWebauthn(reader, flags, data)
    : { extensions: Buffer.alloc(0), data };
  reader.end();
  if (content === undefined) return false;
  const hash = (bytes: Uint8Array | string) => createHash("sha256").update(bytes).digest();
  const signed = new Writer()
    .bytes(hash(key.application))
    .byte(flags)
    .uint32(counter)
    .bytes(content.extensions)
    .bytes(hash(content.data))
    .finish();
  const verifier = { key: toKeyObject(key), dsaEncoding: "ieee-p1363" } as const;
  if (key.type === "sk-ed25519") return verify(null, signed, verifier, signature);
  return verify("sha256", signed, verifier, readEcdsaSignature(signature, 32));
}

/** The signature algorithm of web browsers, for plain keys and in logins by a certificate. */
const webauthnAlgorithms = [
  "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
  "webauthn-sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
];

/** Bits of the flags: the authenticator's data has a new key; it has extensions. */
const attestedData = 0x40;
const hasExtensions = 0x80;

/**
 * Reads the rest of a webauthn signature (OpenSSH's PROTOCOL.u2f): what was signed in place of `data`,
 * which it has to name. Browsers write the first members of the client data in a fixed form (WebAuthn,
 * section 5.8.1.1), so no JSON is parsed.
 * @returns undefined if it is not a signature over `data`
 * @throws {Failure} malformed
 */
function readWebauthn(reader: Reader, flags: number, data: Uint8Array) {
  const origin = reader.string();
  const clientData = reader.string();
  const extensions = reader.string();
  const challenge = Buffer.from(data).toString("base64url");
  const start = Buffer.concat([
    Buffer.from(`{"type":"webauthn.get","challenge":"${challenge}","origin":"`),
    origin,
    Buffer.from('"'),
  ]);
  const isWellFormed =
    !origin.includes('"') &&
    (flags & attestedData) === 0 &&
    ((flags & hasExtensions) !== 0) === extensions.length > 0;
  const isForData = start.equals(clientData.subarray(0, start.length));
  return isWellFormed && isForData ? { extensions, data: clientData } : undefined;
}

function isAlgorithmOf(key: PublicKey, algorithm: SignatureAlgorithm): boolean {
  if (key.type === "rsa" && algorithm.startsWith("rsa-sha2-")) return true;
  return algorithm === algorithmName(key);
}
