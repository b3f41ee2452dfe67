/** Certificates of OpenSSH (PROTOCOL.certkeys), decoded whole. */
import { blame, invalidCertificate } from "./failure.ts";
import {
  algorithmName,
  decodePublicKey,
  encodePublicKey,
  type PublicKey,
  readKeyFields,
} from "./public-key.ts";
import { decodeText } from "./text.ts";
import { Reader, readStrings } from "./wire.ts";

/** A critical option or an extension: its name and its data as they stand in the certificate. */
export interface CertificateOption {
  readonly name: string;
  readonly data: Buffer;
}

/**
 * All that a certificate says (OpenSSH's PROTOCOL.certkeys). Whether its CA has signed it, and whether
 * that CA is to be trusted, is another matter: see `verifyKeyOrCertificate`. That it is valid now is for
 * whoever knows the time to check, by `validAfter` and `validBefore`.
 */
export interface Certificate {
  /** The key that is certified. */
  readonly key: PublicKey;
  readonly nonce: Buffer;
  readonly serial: bigint;
  readonly type: "user" | "host";
  readonly keyId: string;
  /** Names that it is good for; empty means any. */
  readonly principals: readonly string[];
  /** Seconds since 1970. */
  readonly validAfter: bigint;
  /** Seconds since 1970; 2^64 - 1 means for ever. From this second on it is not valid. */
  readonly validBefore: bigint;
  readonly criticalOptions: readonly CertificateOption[];
  readonly extensions: readonly CertificateOption[];
  readonly reserved: Buffer;
  /** The CA's key blob. */
  readonly caKey: Buffer;
  /** The CA's signature blob over everything before it. */
  readonly signature: Buffer;
}

declare const verified: unique symbol;

/**
 * A certificate whose CA has signed it: what the agent decides by. Only `verifyKeyOrCertificate`
 * makes one, so that nobody can forget to verify.
 */
export type VerifiedCertificate = Certificate & { readonly [verified]: true };

/** The `validBefore` of a certificate that does not end. */
export const forever = 0xffff_ffff_ffff_ffffn;

const suffix = "-cert-v01@openssh.com";
const typeNumbers = { user: 1, host: 2 } as const;

/** Principals that a certificate of OpenSSH has at the most. */
const maxPrincipals = 256;

/** Whether a blob's algorithm is that of a certificate. */
function isCertificateAlgorithm(algorithm: string): boolean {
  return algorithm.endsWith(suffix);
}

/** The algorithm name of a certificate for this key. */
export function certificateAlgorithm(key: PublicKey): string {
  return algorithmName(key).replace(/@openssh\.com$/, "") + suffix;
}

/** The plain key's algorithm name for a certificate's; undefined where it is no certificate's. */
export function plainAlgorithm(algorithm: string): string | undefined {
  if (!isCertificateAlgorithm(algorithm)) return undefined;
  const plain = algorithm.slice(0, -suffix.length);
  return plain.startsWith("sk-") ? `${plain}@openssh.com` : plain;
}

/**
 * Decodes a certificate blob, as strictly as OpenSSH: its clients fail on a whole list of identities
 * that holds a certificate which they cannot read. It does not verify the CA's signature.
 * @returns undefined for a blob that is no certificate, or one for a key that is not known here
 * @throws {Failure} malformed
 */
export function decodeCertificate(blob: Uint8Array): Certificate | undefined {
  return blame(invalidCertificate, () => readCertificate(blob));
}

function readCertificate(blob: Uint8Array): Certificate | undefined {
  const reader = new Reader(blob);
  const algorithm = plainAlgorithm(reader.name());
  if (algorithm === undefined) return undefined;
  const nonce = reader.string();
  const key = readKeyFields(reader, algorithm);
  if (key === undefined) return undefined;
  const serial = reader.uint64();
  const type = readType(reader.uint32());
  const keyId = reader.cString();
  const principals = readPrincipals(reader.string());
  const validAfter = reader.uint64();
  const validBefore = reader.uint64();
  const criticalOptions = readOptions(reader.string());
  const extensions = readOptions(reader.string());
  const reserved = reader.string();
  const caKey = reader.string();
  const signature = reader.string();
  reader.end();
  checkCaKey(caKey);
  return {
    key,
    nonce,
    serial,
    type,
    keyId,
    principals,
    validAfter,
    validBefore,
    criticalOptions,
    extensions,
    reserved,
    caKey,
    signature,
  };
}

/** A key blob read either way: the key itself, and the certificate where it is one. */
interface ParsedKey {
  /** The plain key. */
  readonly key: PublicKey;
  /** The plain key's blob: what fingerprints are made of. */
  readonly keyBlob: Buffer;
  readonly certificate: Certificate | undefined;
}

/**
 * Reads a blob that may be a plain key's or a certificate's.
 * @returns undefined for an algorithm that is not known here
 * @throws {Failure} malformed
 */
export function parseKeyOrCertificate(blob: Uint8Array): ParsedKey | undefined {
  const certificate = decodeCertificate(blob);
  if (certificate !== undefined) {
    return { key: certificate.key, keyBlob: encodePublicKey(certificate.key), certificate };
  }
  const key = decodePublicKey(blob);
  if (key === undefined) return undefined;
  const keyBlob = Buffer.isBuffer(blob) ? blob : Buffer.from(blob);
  return { key, keyBlob, certificate: undefined };
}

function readType(number: number): "user" | "host" {
  if (number === typeNumbers.user) return "user";
  if (number === typeNumbers.host) return "host";
  throw invalidCertificate("A certificate is neither a user's nor a host's.");
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

/** The CA's key is a plain one, and not of DSA, which OpenSSH 10 does not know any more. */
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
