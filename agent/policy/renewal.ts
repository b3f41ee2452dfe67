/** Certificates that take the place of older ones. */
import type { Certificate } from "../../protocol/certificate.ts";

/** What may be a certificate's identity. */
interface Certified {
  /** The plain key's blob. */
  readonly keyBlob: Buffer;
  readonly certificate: Certificate | undefined;
}

/**
 * Whether a certificate renews another one: it is of the same key, by the same authority, for the same
 * principals, valid by now, and for no shorter time. Otherwise whoever has both may need both.
 * @param now seconds since 1970
 */
export function renews(one: Certified, older: Certified, now: bigint): boolean {
  const { certificate } = one;
  if (certificate === undefined || older.certificate === undefined) return false;
  return (
    one.keyBlob.equals(older.keyBlob) &&
    certificate.caKey.equals(older.certificate.caKey) &&
    certificate.type === older.certificate.type &&
    certificate.validAfter <= now &&
    certificate.validBefore >= older.certificate.validBefore &&
    isSameSet(certificate.principals, older.certificate.principals)
  );
}

function isSameSet(one: readonly string[], other: readonly string[]): boolean {
  const [names, others] = [new Set(one), new Set(other)];
  return names.size === others.size && [...names].every((name) => others.has(name));
}
