/** Certificates in files, and what their time is. */
import { maxDuration } from "../../openssh/duration.ts";
import { type Certificate, decodeCertificate } from "../../protocol/certificate.ts";
import { PublicKeyFileError, readPublicKeyFile } from "./public-key-file.ts";

/** A certificate from a file. */
export interface CertificateFile {
  readonly path: string;
  readonly blob: Buffer;
  readonly certificate: Certificate;
  readonly comment: string;
}

/**
 * Reads a certificate.
 * @throws {PublicKeyFileError} when the file cannot be read or holds no certificate
 */
export function readCertificateFile(path: string): CertificateFile {
  const { blob, comment } = readPublicKeyFile(path);
  const certificate = decodeCertificate(blob);
  if (certificate === undefined) throw new PublicKeyFileError("not a certificate", false);
  return { path, blob, certificate, comment };
}

/** Seconds that a certificate's identity stays in the agent after the certificate's end. */
const grace = 300n;

/**
 * Seconds that a certificate's identity is to live: until its end, and five minutes more.
 * @param now seconds since 1970
 * @returns 0 for one that does not end, undefined for one that has ended
 */
export function certificateLifetime(certificate: Certificate, now: number): number | undefined {
  const left = certificate.validBefore - BigInt(now);
  if (left <= 0n) return undefined;
  return left + grace > maxDuration ? 0 : Number(left + grace);
}

/** The shorter of two lifetimes in seconds, where 0 is without end. */
export function shorterLifetime(one: number, other: number): number {
  if (one === 0 || other === 0) return Math.max(one, other);
  return Math.min(one, other);
}
