/** Certificate files, and lifetimes derived from certificates. */
import { maxDuration } from "../../openssh/duration.ts";
import { type Certificate, decodeCertificate, forever } from "../../protocol/certificate.ts";
import { PublicKeyFileError, readPublicKeyFile } from "./public-key-file.ts";

/** A certificate from a file. */
export interface CertificateFile {
  readonly path: string;
  readonly blob: Buffer;
  readonly certificate: Certificate;
}

/**
 * Reads a certificate.
 * @throws {PublicKeyFileError} if the file cannot be read or is not a certificate
 */
export function readCertificateFile(path: string): CertificateFile {
  const file = readCertificateOrKey(path);
  if (file === undefined) throw new PublicKeyFileError("not a certificate", false);
  return file;
}

/**
 * Reads a certificate; undefined for a plain public key.
 * @throws {PublicKeyFileError} if the file cannot be read
 */
export function readCertificateOrKey(path: string): CertificateFile | undefined {
  const { blob } = readPublicKeyFile(path);
  const certificate = decodeCertificate(blob);
  return certificate && { path, blob, certificate };
}

/** Seconds that an identity outlives its certificate. */
const grace = 300n;

/**
 * The lifetime of a certificate's identity in seconds, as in OpenSSH 10: until expiry, plus five minutes.
 * @param now seconds since 1970
 * @returns 0 for unlimited, undefined when the five minutes are over
 */
export function certificateLifetime({ validBefore }: Certificate, now: number): number | undefined {
  if (validBefore === forever) return 0;
  const left = validBefore + grace - BigInt(now);
  if (left <= 0n) return undefined;
  return left > maxDuration ? maxDuration : Number(left);
}

/** Whether a certificate has expired. @param now seconds since 1970 */
export function hasExpired({ validBefore }: Certificate, now: number): boolean {
  return validBefore <= BigInt(now);
}

/** The shorter of two lifetimes in seconds, where 0 is unlimited. */
export function shorterLifetime(one: number, other: number): number {
  if (one === 0 || other === 0) return Math.max(one, other);
  return Math.min(one, other);
}
