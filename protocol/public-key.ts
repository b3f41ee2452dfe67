/**
 * Public keys as key blobs (RFC 4253 section 6.6, RFC 5656, RFC 8709, OpenSSH's PROTOCOL.u2f,
 * draft-miller-sshm-mldsa44-ed25519-composite-sigs). The agent protocol identifies a key by its blob.
 */
import { type DsaPublicKey, readDsa } from "./dsa.ts";
import { invalidKey, rethrowMalformed } from "./failure.ts";
import { Reader, Writer } from "./wire.ts";

/** The curves of RFC 5656 that OpenSSH supports. */
export type CurveName = "nistp256" | "nistp384" | "nistp521";

interface Curve {
  readonly name: CurveName;
  readonly bits: number;
  /** The length of a coordinate. */
  readonly bytes: number;
  readonly jwk: string;
  readonly hash: "sha256" | "sha384" | "sha512";
  /** The object identifier in DER. */
  readonly oid: Buffer;
}

export const curves: Readonly<Record<CurveName, Curve>> = {
  nistp256: {
    name: "nistp256",
    bits: 256,
    bytes: 32,
    jwk: "P-256",
    hash: "sha256",
    oid: Buffer.from("06082a8648ce3d030107", "hex"),
  },
  nistp384: {
    name: "nistp384",
    bits: 384,
    bytes: 48,
    jwk: "P-384",
    hash: "sha384",
    oid: Buffer.from("06052b81040022", "hex"),
  },
  nistp521: {
    name: "nistp521",
    bits: 521,
    bytes: 66,
    jwk: "P-521",
    hash: "sha512",
    oid: Buffer.from("06052b81040023", "hex"),
  },
};

export interface RsaPublicKey {
  readonly type: "rsa";
  /** Modulus and exponent as magnitudes, big-endian. */
  readonly n: Buffer;
  readonly e: Buffer;
}
interface EcdsaPublicKey {
  readonly type: "ecdsa";
  readonly curve: CurveName;
  /** The uncompressed point: 04, x, y. */
  readonly point: Buffer;
}
export interface Ed25519PublicKey {
  readonly type: "ed25519";
  /** 32 bytes. */
  readonly publicKey: Buffer;
}
/** Two keys in one, the first of them post-quantum: a signature is one by each. */
export interface CompositePublicKey {
  readonly type: "mldsa44-ed25519";
  /** ML-DSA-44's: 1,312 bytes. */
  readonly mlDsa: Buffer;
  /** 32 bytes. */
  readonly ed25519: Buffer;
}
/** Keys on FIDO authenticators. */
export interface SkEcdsaPublicKey {
  readonly type: "sk-ecdsa";
  readonly curve: "nistp256";
  readonly point: Buffer;
  readonly application: string;
}
export interface SkEd25519PublicKey {
  readonly type: "sk-ed25519";
  readonly publicKey: Buffer;
  readonly application: string;
}

/** A public key of any supported type. */
export type PublicKey =
  | RsaPublicKey
  | EcdsaPublicKey
  | Ed25519PublicKey
  | CompositePublicKey
  | DsaPublicKey
  | SkEcdsaPublicKey
  | SkEd25519PublicKey;

const openssh = "@openssh.com";

/** The algorithm of composite keys and of their signatures. */
export const compositeAlgorithm = `ssh-mldsa44-ed25519${openssh}` as const;

/** Lengths of ML-DSA-44 in bytes (FIPS 204, section 4). */
export const mlDsaLengths = { seed: 32, publicKey: 1312, signature: 2420 } as const;
export const ed25519Lengths = { seed: 32, publicKey: 32, signature: 64 } as const;

/** OpenSSH's limits for the bits of an RSA modulus. */
export const minRsaBits = 1024;
export const maxRsaBits = 16384;

/** The algorithm name that a plain key's blob begins with. */
export function algorithmName(key: PublicKey): string {
  switch (key.type) {
    case "rsa":
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
      return `sk-ecdsa-sha2-nistp256${openssh}`;
    case "sk-ed25519":
      return `sk-ssh-ed25519${openssh}`;
  }
}

/** A blob as the key of a map: one character per byte. */
export function blobId(blob: Uint8Array): string {
  const buffer = Buffer.isBuffer(blob)
    ? blob
    : Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength);
  return buffer.toString("latin1");
}

/** The algorithm name that a key blob or certificate blob begins with. @throws {Failure} malformed */
export function blobAlgorithm(blob: Uint8Array): string {
  return new Reader(blob).name();
}

/**
 * Decodes a plain key's blob.
 * @returns undefined for an unknown algorithm or a certificate
 * @throws {Failure} malformed
 */
export function decodePublicKey(blob: Uint8Array): PublicKey | undefined {
  return rethrowMalformed(invalidKey, () => {
    const reader = new Reader(blob);
    const key = readKeyFields(reader, reader.name());
    if (key !== undefined) reader.end();
    return key;
  });
}

/** Checks the values of an RSA public key. @throws {Failure} malformed */
export function rsaPublicKey(n: Buffer, e: Buffer): RsaPublicKey {
  if (e.length === 0) throw invalidKey("An RSA key has no exponent.");
  const bits = n.length === 0 ? 0 : bitLength(n);
  if (bits >= minRsaBits) return { type: "rsa", n, e };
  throw invalidKey(`An RSA key of ${bits} bits is not accepted: ${minRsaBits} is the least.`);
}

/** Reads the fields that follow the algorithm name, in a key blob or within a certificate. */
export function readKeyFields(reader: Reader, algorithm: string): PublicKey | undefined {
  switch (algorithm) {
    case "ssh-rsa": {
      const e = reader.mpint();
      return rsaPublicKey(reader.mpint(), e);
    }
    case "ecdsa-sha2-nistp256":
    case "ecdsa-sha2-nistp384":
    case "ecdsa-sha2-nistp521": {
      const curve = algorithm.slice("ecdsa-sha2-".length) as CurveName;
      return { type: "ecdsa", curve, point: readPoint(reader, curve) };
    }
    case "ssh-ed25519":
      return { type: "ed25519", publicKey: readEd25519(reader) };
    case compositeAlgorithm:
      return readComposite(reader);
    case "ssh-dss":
      return readDsa(reader);
    case `sk-ecdsa-sha2-nistp256${openssh}`: {
      const point = readPoint(reader, "nistp256");
      return { type: "sk-ecdsa", curve: "nistp256", point, application: reader.cString() };
    }
    case `sk-ssh-ed25519${openssh}`: {
      const publicKey = readEd25519(reader);
      return { type: "sk-ed25519", publicKey, application: reader.cString() };
    }
    default:
      return undefined;
  }
}

/** Encodes a plain key's blob; the inverse of `decodePublicKey`. */
export function encodePublicKey(key: PublicKey): Buffer {
  const writer = new Writer().text(algorithmName(key));
  writeKeyFields(writer, key);
  return writer.finish();
}

/** Writes the fields that follow the algorithm name, in a key blob or within a certificate. */
export function writeKeyFields(writer: Writer, key: PublicKey): void {
  switch (key.type) {
    case "rsa":
      writer.mpint(key.e).mpint(key.n);
      return;
    case "ecdsa":
      writer.text(key.curve).string(key.point);
      return;
    case "ed25519":
      writer.string(key.publicKey);
      return;
    case "mldsa44-ed25519":
      writer.string(Buffer.concat([key.mlDsa, key.ed25519]));
      return;
    case "dsa":
      writer.mpint(key.p).mpint(key.q).mpint(key.g).mpint(key.y);
      return;
    case "sk-ecdsa":
      writer.text(key.curve).string(key.point).text(key.application);
      return;
    case "sk-ed25519":
      writer.string(key.publicKey).text(key.application);
      return;
  }
}

/** The size in bits, as `ssh-keygen -l` prints it. */
export function keyBits(key: PublicKey): number {
  switch (key.type) {
    case "rsa":
      return bitLength(key.n);
    case "dsa":
      return bitLength(key.p);
    case "ecdsa":
    case "sk-ecdsa":
      return curves[key.curve].bits;
    case "ed25519":
    case "mldsa44-ed25519":
    case "sk-ed25519":
      return 256;
  }
}

/** The type in capitals, as `ssh-keygen -l` prints it in parentheses. */
export function keyTypeName(key: PublicKey): string {
  switch (key.type) {
    case "rsa":
      return "RSA";
    case "ecdsa":
      return "ECDSA";
    case "ed25519":
      return "ED25519";
    case "mldsa44-ed25519":
      return "MLDSA44-ED25519";
    case "dsa":
      return "DSA";
    case "sk-ecdsa":
      return "ECDSA-SK";
    case "sk-ed25519":
      return "ED25519-SK";
  }
}

/** The hashes of fingerprints: OpenSSH documents the first two and accepts all of them. */
export const fingerprintHashes = ["sha256", "md5", "sha1", "sha384", "sha512"] as const;
export type FingerprintHash = (typeof fingerprintHashes)[number];

function bitLength(magnitude: Buffer): number {
  return magnitude.length * 8 - Math.clz32(magnitude[0] as number) + 24;
}

function readPoint(reader: Reader, curve: CurveName): Buffer {
  if (reader.name() !== curve)
    throw invalidKey("The curve of an ECDSA key does not match its algorithm.");
  const point = reader.string();
  if (point[0] !== 4 || point.length !== 1 + 2 * curves[curve].bytes) {
    throw invalidKey("An ECDSA key's point is not an uncompressed point of its curve.");
  }
  return point;
}

function readEd25519(reader: Reader): Buffer {
  const publicKey = reader.string();
  if (publicKey.length !== 32) throw invalidKey("An Ed25519 key is not 32 bytes long.");
  return publicKey;
}

function readComposite(reader: Reader): CompositePublicKey {
  const both = reader.string();
  if (both.length !== mlDsaLengths.publicKey + ed25519Lengths.publicKey) {
    throw invalidKey("An ML-DSA-44 and Ed25519 key is not 1,344 bytes long.");
  }
  const [mlDsa, ed25519] = halves(both, mlDsaLengths.publicKey);
  return { type: "mldsa44-ed25519", mlDsa, ed25519 };
}

/** What is before and after a place, as views. */
export function halves(bytes: Buffer, place: number): [Buffer, Buffer] {
  return [bytes.subarray(0, place), bytes.subarray(place)];
}
