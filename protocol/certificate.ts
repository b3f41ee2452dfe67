/** OpenSSH certificates (PROTOCOL.certkeys). */
import { invalidCertificate, rethrowMalformed } from "./failure.ts";
import { nameOfNumber } from "./numbers.ts";
import {
  algorithmName,
  decodePublicKey,
  encodePublicKey,
  type PublicKey,
  readKeyFields,
} from "./public-key.ts";
import { decodeText } from "./text.ts";
import { Reader, readStrings } from "./wire.ts";

/** A critical option or an extension, with its undecoded data. */
export interface CertificateOption {
  readonly name: string;
  readonly data: Buffer;
}

/**
 * The fields of a certificate (OpenSSH's PROTOCOL.certkeys). Its signature is not verified yet:
 * `verifyKeyOrCertificate` does that. The user of a certificate must check its validity period
 * (`validAfter`, `validBefore`) and whether to trust its CA.
 */
export interface Certificate {
  /** The certified key. */
  readonly key: PublicKey;
  readonly nonce: Buffer;
  readonly serial: bigint;
  readonly type: "user" | "host";
  readonly keyId: string;
  /** The valid names of the user or host; empty means any. */
  readonly principals: readonly string[];
  /** Seconds since 1970. */
  readonly validAfter: bigint;
  /** Seconds since 1970, exclusive; 2^64 - 1 means for ever. */
  readonly validBefore: bigint;
  readonly criticalOptions: readonly CertificateOption[];
  readonly extensions: readonly CertificateOption[];
  readonly reserved: Buffer;
  /** The CA's key blob. */
  readonly caKey: Buffer;
  /** The CA's signature blob over all preceding bytes. */
  readonly signature: Buffer;
}

declare const verified: unique symbol;

/** A certificate with a verified signature, which only `verifyKeyOrCertificate` returns. */
export type VerifiedCertificate = Certificate & { readonly [verified]: true };

/** The `validBefore` of a certificate that does not expire. */
export const forever = 0xffff_ffff_ffff_ffffn;

/** The types of certificates and their numbers on the wire. */
export const certificateTypes = { user: 1, host: 2 } as const;

const suffix = "-cert-v01@openssh.com";

/** Algorithms whose plain name ends in `@openssh.com`. */
const opensshNames = /^(sk-|ssh-mldsa44-)/;

/** OpenSSH's limit. */
const maxPrincipals = 256;

/** The algorithm name of a certificate for this key. */
export function certificateAlgorithm(key: PublicKey): string {
  return algorithmName(key).replace(/@openssh\.com$/, "") + suffix;
}

/** The plain key's algorithm for a certificate's; undefined for other algorithms. */
export function plainAlgorithm(algorithm: string): string | undefined {
  if (!algorithm.endsWith(suffix)) return undefined;
  const plain = algorithm.slice(0, -suffix.length);
  return opensshNames.test(plain) ? `${plain}@openssh.com` : plain;
}

/**
 * Decodes a certificate blob as strictly as OpenSSH, whose clients fail on a whole list of identities
 * with one invalid certificate. It does not verify the signature.
 * @returns undefined for a plain key's blob or an unknown key type
 * @throws {Failure} malformed
 */
export function decodeCertificate(blob: Uint8Array): Certificate | undefined {
  return rethrowMalformed(invalidCertificate, () => readCertificate(blob));
}

function readCertificate(blob: Uint8Array): Certificate | undefined {
  const reader = new Reader(blob);
  const algorithm = plainAlgorithm(reader.name());
  if (algorithm === undefined) return undefined;
  const nonce = reader.string();
  const key = readKeyFields(reader, algorithm);
  if (key === undefined) return undefined;
  const certificate = {
    key,
    nonce,
    serial: reader.uint64(),
    type: readType(reader.uint32()),
    keyId: reader.cString(),
    principals: readPrincipals(reader.string()),
    validAfter: reader.uint64(),
    validBefore: reader.uint64(),
    criticalOptions: readOptions(reader.string()),
    extensions: readOptions(reader.string()),
    reserved: reader.string(),
    caKey: reader.string(),
    signature: reader.string(),
  };
  reader.end();
  checkCaKey(certificate.caKey);
  return certificate;
}

/** A key blob or certificate blob, decoded but not verified. */
interface ParsedKey {
  /** The plain key. */
  readonly key: PublicKey;
  /** The plain key's blob, which fingerprints are computed from. */
  readonly keyBlob: Buffer;
  readonly certificate: Certificate | undefined;
}

/**
 * Decodes the blob of a plain key or a certificate.
 * @returns undefined for an unknown algorithm
 * @throws {Failure} malformed
 */
export function parseKeyOrCertificate(blob: Uint8Array): ParsedKey | undefined {
  const certificate = decodeCertificate(blob);
  const key = certificate?.key ?? decodePublicKey(blob);
  return key && { key, keyBlob: encodePublicKey(key), certificate };
}

function readType(number: number): "user" | "host" {
  const type = nameOfNumber(certificateTypes, number);
  if (type !== undefined) return type;
  throw invalidCertificate("Invalid certificate type: neither user nor host.");
}

function readPrincipals(bytes: Buffer): string[] {
  const reader = new Reader(bytes);
  const principals: string[] = [];
  while (reader.remaining > 0) {
    if (principals.length === maxPrincipals) {
      throw invalidCertificate(`A certificate has more than ${maxPrincipals} principals.`);
    }
    principals.push(reader.cString());
  }
  return principals;
}

/** The CA key must be a plain key, and not DSA, which OpenSSH 10 no longer supports. */
function checkCaKey(blob: Buffer): void {
  const caKey = decodePublicKey(blob);
  if (caKey === undefined)
    throw invalidCertificate("A certificate's CA key is of an unknown type.");
  if (caKey.type === "dsa") throw invalidCertificate("A certificate is signed by a CA with DSA.");
}

function readOptions(bytes: Buffer): CertificateOption[] {
  const parts = readStrings(bytes);
  if (parts.length % 2 === 1) throw invalidCertificate("A certificate's option has no data.");
  const options: CertificateOption[] = [];
  for (let at = 0; at < parts.length; at += 2) {
    const name = decodeText(parts[at] as Buffer);
    options.push({ name, data: parts[at + 1] as Buffer });
  }
  return options;
}
