/**
 * Signature blobs and signature algorithms.
 *
 * RSA: RFC 4253 section 6.6 (SHA-1) and RFC 8332 (SHA-2); ECDSA: RFC 5656 section 3.1.2;
 * Ed25519: RFC 8709; DSA: RFC 4253 section 6.6; composite:
 * draft-miller-sshm-mldsa44-ed25519-composite-sigs.
 */
import { dsaIntegerLength } from "./dsa.ts";
import { Failure, malformed } from "./failure.ts";
import { signatureFlags } from "./numbers.ts";
import {
  type CurveName,
  compositeAlgorithm,
  curves,
  ed25519Lengths,
  mlDsaLengths,
  type PublicKey,
} from "./public-key.ts";
import { Reader, Writer } from "./wire.ts";

/** The supported signature algorithms. */
export type SignatureAlgorithm =
  | "ssh-rsa"
  | "rsa-sha2-256"
  | "rsa-sha2-512"
  | "ecdsa-sha2-nistp256"
  | "ecdsa-sha2-nistp384"
  | "ecdsa-sha2-nistp521"
  | "ssh-ed25519"
  | typeof compositeAlgorithm
  | "ssh-dss";

/** The hash that each algorithm signs, by its name in `node:crypto`; Ed25519 and composite keys get the data. */
export const signatureHashes: Readonly<
  Record<SignatureAlgorithm, "sha1" | "sha256" | "sha384" | "sha512" | null>
> = {
  "ssh-rsa": "sha1",
  "rsa-sha2-256": "sha256",
  "rsa-sha2-512": "sha512",
  "ecdsa-sha2-nistp256": "sha256",
  "ecdsa-sha2-nistp384": "sha384",
  "ecdsa-sha2-nistp521": "sha512",
  "ssh-ed25519": null,
  [compositeAlgorithm]: null,
  "ssh-dss": "sha1",
};

/**
 * The algorithm that a sign request selects (RFC 9987, section 3.6.1). RSA without flags means SHA-1;
 * with both flags SHA-256 is used, as in OpenSSH; other key types have one algorithm.
 * @throws {Failure} unsupported, for FIDO keys, whose signatures have another format
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
    case "mldsa44-ed25519":
      return compositeAlgorithm;
    case "dsa":
      return "ssh-dss";
    case "sk-ecdsa":
    case "sk-ed25519":
      throw new Failure("unsupported", "Keys on FIDO authenticators sign on them.");
  }
}

/**
 * Encodes a signature blob.
 * @param raw RSA: the signature, as long as the modulus; ECDSA: r and s, each as long as a
 *   coordinate, as in PKCS#11 and IEEE P1363; Ed25519: 64 bytes; composite: ML-DSA's 2,420 bytes and
 *   Ed25519's 64; DSA: r and s, 40 bytes
 */
export function encodeSignature(algorithm: SignatureAlgorithm, raw: Uint8Array): Buffer {
  const writer = new Writer(raw.length + 64).text(algorithm);
  if (!algorithm.startsWith("ecdsa-")) return writer.string(raw).finish();
  const half = raw.length / 2;
  const inner = new Writer(raw.length + 16);
  inner.mpint(raw.subarray(0, half)).mpint(raw.subarray(half));
  return writer.string(inner.finish()).finish();
}

/** A decoded signature blob; `raw` is as in `encodeSignature`. */
export interface Signature {
  readonly algorithm: SignatureAlgorithm;
  readonly raw: Buffer;
}

/**
 * Decodes a signature blob; the inverse of `encodeSignature`.
 * @throws {Failure} malformed, also for an unknown algorithm
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
    case compositeAlgorithm:
      if (value.length === mlDsaLengths.signature + ed25519Lengths.signature) {
        return { algorithm, raw: value };
      }
      throw malformed("An ML-DSA-44 and Ed25519 signature is not 2,484 bytes long.");
    case "ssh-dss":
      if (value.length === 2 * dsaIntegerLength) return { algorithm, raw: value };
      throw malformed("A DSA signature is not 40 bytes long.");
    case "ecdsa-sha2-nistp256":
    case "ecdsa-sha2-nistp384":
    case "ecdsa-sha2-nistp521": {
      const curve = algorithm.slice("ecdsa-sha2-".length) as CurveName;
      return { algorithm, raw: readEcdsaSignature(value, curves[curve].bytes) };
    }
  }
}

/**
 * Reads an ECDSA signature (RFC 5656, section 3.1.2). @returns r and s, each `width` bytes long
 * @throws {Failure} malformed
 */
export function readEcdsaSignature(bytes: Uint8Array, width: number): Buffer {
  const reader = new Reader(bytes);
  const r = reader.mpint();
  const s = reader.mpint();
  reader.end();
  return Buffer.concat([padLeft(r, width), padLeft(s, width)]);
}

/** Pads a magnitude with leading zeros to `width` bytes. @throws {Failure} malformed */
export function padLeft(bytes: Buffer, width: number): Buffer {
  if (bytes.length === width) return bytes;
  if (bytes.length > width) throw malformed("A signature is longer than its key.");
  const padded = Buffer.alloc(width);
  padded.set(bytes, width - bytes.length);
  return padded;
}

function isSignatureAlgorithm(name: string): name is SignatureAlgorithm {
  return Object.hasOwn(signatureHashes, name);
}
