/** Certificates that supersede older ones. */
import type { CertificateOption, VerifiedCertificate } from "../../protocol/certificate.ts";

/** An identity that may have a certificate. */
interface Certified {
  /** The blob of the identity itself. */
  readonly blob: Buffer;
  /** The plain key's blob. */
  readonly keyBlob: Buffer;
  readonly certificate: VerifiedCertificate | undefined;
}

/** The identities that another one supersedes, except for itself. */
export function supersededBy<Identity extends Certified>(
  one: Certified,
  others: Iterable<Identity>,
  now: bigint,
): Set<Identity> {
  const superseded = new Set<Identity>();
  for (const other of others) {
    if (!other.blob.equals(one.blob) && supersedes(one, other, now)) superseded.add(other);
  }
  return superseded;
}

/**
 * Whether a certificate supersedes another one: it has the same key, CA, type, principals and critical
 * options, at least the same extensions, is valid already, and does not expire sooner. Otherwise the
 * user may need both. Serial numbers are ignored: some CAs choose them at random.
 * @param now seconds since 1970
 */
export function supersedes(
  one: Pick<Certified, "keyBlob" | "certificate">,
  older: Pick<Certified, "keyBlob" | "certificate">,
  now: bigint,
): boolean {
  const [certificate, other] = [one.certificate, older.certificate];
  if (certificate === undefined || other === undefined) return false;
  return (
    one.keyBlob.equals(older.keyBlob) &&
    certificate.caKey.equals(other.caKey) &&
    certificate.type === other.type &&
    certificate.validAfter <= now &&
    lastsAsLong(certificate, other) &&
    isSameSet(certificate.principals, other.principals) &&
    isSameSet(texts(certificate.criticalOptions), texts(other.criticalOptions)) &&
    includesAll(texts(certificate.extensions), texts(other.extensions))
  );
}

/** Whether one expires later than another, or at the same time without being older. */
function lastsAsLong(one: VerifiedCertificate, older: VerifiedCertificate): boolean {
  if (one.validBefore !== older.validBefore) return one.validBefore > older.validBefore;
  return one.validAfter >= older.validAfter;
}

function isSameSet(one: readonly string[], other: readonly string[]): boolean {
  return includesAll(one, other) && includesAll(other, one);
}

function includesAll(all: readonly string[], some: readonly string[]): boolean {
  const known = new Set(all);
  return some.every((text) => known.has(text));
}

/** The options as comparable texts. */
function texts(options: readonly CertificateOption[]): string[] {
  return options.map(({ name, data }) => `${name}=${data.toString("hex")}`);
}
