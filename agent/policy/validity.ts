/** Expired certificates. */
import { type Certificate, forever } from "../../protocol/certificate.ts";
import { Failure } from "../../protocol/failure.ts";

/**
 * When a certificate is dropped, in seconds since 1970; undefined for never.
 * @param grace seconds that certificates stay after they expire; undefined for ever
 */
export function dropTime(
  certificate: Certificate | undefined,
  grace: number | undefined,
): bigint | undefined {
  if (certificate === undefined || certificate.validBefore === forever) return undefined;
  return grace === undefined ? undefined : certificate.validBefore + BigInt(grace);
}

/** The refusal of an expired certificate. */
export function certificateExpired({ validBefore }: Certificate): Failure {
  const end = new Date(Number(validBefore) * 1000).toISOString();
  return new Failure("certificate-expired", `The certificate was valid until ${end}.`);
}
