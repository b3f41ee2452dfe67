/** Certificate files, and lifetimes derived from certificates. */
import { maxDuration } from "../../openssh/duration.ts";
import { type Certificate, decodeCertificate } from "../../protocol/certificate.ts";
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
  const { blob } = readPublicKeyFile(path);
  const certificate = decodeCertificate(blob);
  if (certificate === undefined) throw new PublicKeyFileError("not a certificate", false);
  return { path, blob, certificate };
}

/** Seconds that an identity outlives its certificate. */
const grace = 300n;

/**
 * The lifetime of a certificate's identity in seconds: until expiry, plus five minutes.
 * @param now seconds since 1970
 * @returns 0 for unlimited, undefined for an expired certificate
 */
export function certificateLifetime(certificate: Certificate, now: number): number | undefined {
  const left = certificate.validBefore - BigInt(now);
  if (left <= 0n) return undefined;
  return left + grace > maxDuration ? 0 : Number(left + grace);
}

/** The shorter of two lifetimes in seconds, where 0 is unlimited. */
export function shorterLifetime(one: number, other: number): number {
  if (one === 0 || other === 0) return Math.max(one, other);
  return Math.min(one, other);
}
