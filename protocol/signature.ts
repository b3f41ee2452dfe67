/**
 * Signatures as signature blobs, and their algorithms.
 *
 * RSA: RFC 4253 section 6.6 (SHA-1) and RFC 8332 (SHA-2); ECDSA: RFC 5656 section 3.1.2;
 * Ed25519: RFC 8709; DSA: RFC 4253 section 6.6.
 */
import { dsaHalf } from "./dsa.ts";
import { Failure, malformed } from "./failure.ts";
import { signatureFlags } from "./numbers.ts";
import { type CurveName, curves, type PublicKey } from "./public-key.ts";
import { Reader, Writer } from "./wire.ts";

/** The signature algorithms that keys of this project sign with. */
export type SignatureAlgorithm =
  | "ssh-rsa"
  | "rsa-sha2-256"
  | "rsa-sha2-512"
  | "ecdsa-sha2-nistp256"
  | "ecdsa-sha2-nistp384"
  | "ecdsa-sha2-nistp521"
  | "ssh-ed25519"
  | "ssh-dss";

/** A hash by its name in `node:crypto`; Ed25519 takes the data itself. */
type SignatureHash = "sha1" | "sha256" | "sha384" | "sha512" | null;

const hashes: Readonly<Record<SignatureAlgorithm, SignatureHash>> = {
  "ssh-rsa": "sha1",
  "rsa-sha2-256": "sha256",
  "rsa-sha2-512": "sha512",
  "ecdsa-sha2-nistp256": "sha256",
  "ecdsa-sha2-nistp384": "sha384",
  "ecdsa-sha2-nistp521": "sha512",
  "ssh-ed25519": null,
  "ssh-dss": "sha1",
};

/** The hash that an algorithm signs; null for Ed25519. */
export function signatureHash(algorithm: SignatureAlgorithm): SignatureHash {
  return hashes[algorithm];
}

/**
 * The algorithm that a sign request asks for (RFC 9987, section 3.6.1). RSA without flags is SHA-1,
 * as the RFC has it; with both flags SHA-256 wins, as in OpenSSH; other keys have one algorithm.
 * @throws {Failure} unsupported, for keys on FIDO authenticators, which sign in a form of their own
 */
export function signatureAlgorithm(key: PublicKey, flags: number): SignatureAlgorithm {
  switch (key.type) {
    case "rsa":
      if (flags & signatureFlags.rsaSha256) return "rsa-sha2-256";
      if (flags & signatureFlags.rsaSha512) return "rsa-sha2-512";
      return "ssh-rsa";
    case "ecdsa":
      return `ecdsa-sha2-${key.curve}`;
    case "ed25519":
      return "ssh-ed25519";
    case "dsa":
      return "ssh-dss";
    case "sk-ecdsa":
    case "sk-ed25519":
      throw new Failure("unsupported", "Keys on FIDO authenticators sign on them.");
  }
}

/**
 * A signature blob from what the algorithm itself yields.
 * @param raw RSA: the signature, as long as the modulus; ECDSA: r and s, each as long as a
 *   coordinate (PKCS#11 and IEEE P1363 have it so); Ed25519: 64 bytes; DSA: r and s, 40 bytes
 */
export function encodeSignature(algorithm: SignatureAlgorithm, raw: Uint8Array): Buffer {
  const writer = new Writer(raw.length + 64).text(algorithm);
  if (!algorithm.startsWith("ecdsa-")) return writer.string(raw).finish();
  const half = raw.length / 2;
  const inner = new Writer(raw.length + 16);
  inner.mpint(raw.subarray(0, half)).mpint(raw.subarray(half));
  return writer.string(inner.finish()).finish();
}

/** A signature blob taken apart; the inverse of `encodeSignature`. */
export interface Signature {
  readonly algorithm: SignatureAlgorithm;
  readonly raw: Buffer;
}

/**
 * Decodes a signature blob.
 * @throws {Failure} malformed, also for an algorithm that is not in `SignatureAlgorithm`
 */
export function decodeSignature(blob: Uint8Array): Signature {
  const reader = new Reader(blob);
  const algorithm = reader.name();
  if (!isSignatureAlgorithm(algorithm)) throw malformed("A signature's algorithm is not known.");
  const value = reader.string();
  reader.end();
  switch (algorithm) {
    case "ssh-rsa":
    case "rsa-sha2-256":
    case "rsa-sha2-512":
      return { algorithm, raw: value };
    case "ssh-ed25519":
      if (value.length !== 64) throw malformed("An Ed25519 signature is not 64 bytes long.");
      return { algorithm, raw: value };
    case "ssh-dss":
      if (value.length !== 2 * dsaHalf) throw malformed("A DSA signature is not 40 bytes long.");
      return { algorithm, raw: value };
    case "ecdsa-sha2-nistp256":
    case "ecdsa-sha2-nistp384":
    case "ecdsa-sha2-nistp521":
      return {
        algorithm,
        raw: readPair(value, curveWidth(algorithm)),
      };
  }
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

function isSignatureAlgorithm(name: string): name is SignatureAlgorithm {
  return Object.hasOwn(hashes, name);
}

function curveWidth(algorithm: `ecdsa-sha2-${CurveName}`): number {
  return curves[algorithm.slice("ecdsa-sha2-".length) as CurveName].bytes;
}
