/**
 * DSA keys (RFC 4253, section 6.6), which OpenSSH before 10 still supports. `node:crypto` imports them
 * from DER only (RFC 3279, section 2.3.2).
 */
import { derInteger, derSequence, derTagged } from "./der.ts";
import { invalidKey } from "./failure.ts";
import type { Reader } from "./wire.ts";

export interface DsaPublicKey {
  readonly type: "dsa";
  /** Magnitudes, big-endian; q is 160 bits long. */
  readonly p: Buffer;
  readonly q: Buffer;
  readonly g: Buffer;
  readonly y: Buffer;
}

/** The length of r and of s in a signature, and of q: SSH has DSA with 160 bits only. */
export const dsaIntegerLength = 20;

/** id-dsa, 1.2.840.10040.4.1. */
const algorithm = Buffer.from("06072a8648ce380401", "hex");

/** Reads the fields of a public key. @throws {Failure} malformed */
export function readDsa(reader: Reader): DsaPublicKey {
  const [p, q, g, y] = [reader.mpint(), reader.mpint(), reader.mpint(), reader.mpint()];
  if (p.length === 0 || q.length !== dsaIntegerLength || g.length === 0 || y.length === 0) {
    throw invalidKey("A DSA key lacks a number, or its q is not 160 bits long.");
  }
  return { type: "dsa", p, q, g, y };
}

/** SubjectPublicKeyInfo. */
export function dsaPublicDer(key: DsaPublicKey): Buffer {
  const y = Buffer.concat([Buffer.of(0), derInteger(key.y)]);
  return derSequence([algorithmIdentifier(key), derTagged(0x03, y)]);
}

/** PrivateKeyInfo (PKCS#8); the caller overwrites it. */
export function dsaPrivateDer(key: DsaPublicKey, x: Buffer): Buffer {
  const integer = derInteger(x);
  const octets = derTagged(0x04, integer);
  const der = derSequence([derInteger(Buffer.of(0)), algorithmIdentifier(key), octets]);
  integer.fill(0);
  octets.fill(0);
  return der;
}

function algorithmIdentifier({ p, q, g }: DsaPublicKey): Buffer {
  return derSequence([algorithm, derSequence([p, q, g].map(derInteger))]);
}
