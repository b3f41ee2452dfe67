/**
 * Signatures of FIDO authenticators (OpenSSH's PROTOCOL.u2f), verified: a certificate's authority
 * may keep its key on one.
 */
import { createHash, verify } from "node:crypto";
import { malformed } from "./failure.ts";
import {
  algorithmName,
  type SkEcdsaPublicKey,
  type SkEd25519PublicKey,
  toKeyObject,
} from "./public-key.ts";
import { Reader, Writer } from "./wire.ts";

/**
 * Whether `blob` is a signature by an authenticator's `key` over `data`.
 * @throws {Failure} malformed, when the blob is no signature
 */
export function verifySkSignature(
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

/**
 * r and s of an ECDSA signature (RFC 5656, section 3.1.2), each `width` bytes long.
 * @throws {Failure} malformed
 */
export function readPair(bytes: Uint8Array, width: number): Buffer {
  const reader = new Reader(bytes);
  const r = reader.mpint();
  const s = reader.mpint();
  reader.end();
  return Buffer.concat([padLeft(r, width), padLeft(s, width)]);
}

/** A magnitude with zeros in front, `width` bytes long. @throws {Failure} malformed */
export function padLeft(bytes: Buffer, width: number): Buffer {
  if (bytes.length === width) return bytes;
  if (bytes.length > width) throw malformed("A signature is longer than its key.");
  const padded = Buffer.alloc(width);
  padded.set(bytes, width - bytes.length);
  return padded;
}
