/** Certificates that take the place of older ones. */
import type { CertificateOption, VerifiedCertificate } from "../../protocol/certificate.ts";

/** What may be a certificate's identity. */
interface Certified {
  /** The blob of the identity itself. */
  readonly blob: Buffer;
  /** The plain key's blob. */
  readonly keyBlob: Buffer;
  readonly certificate: VerifiedCertificate | undefined;
}

/** Those of `others` that an identity supersedes, but for the very same certificate. */
export function renewedBy<Identity extends Certified>(
  one: Certified,
  others: Iterable<Identity>,
  now: bigint,
): Set<Identity> {
  const renewed = new Set<Identity>();
  for (const other of others) {
    if (!other.blob.equals(one.blob) && supersedes(one, other, now)) renewed.add(other);
  }
  return renewed;
}

/**
 * Whether a certificate supersedes another one: it is of the same key, by the same CA, for the same
 * principals, with the same critical options and at least the same extensions, valid by now, and
 * good for no shorter time. Otherwise whoever has both may need both. Serial numbers do not count:
 * some CAs draw them at random.
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

/** Of two that end at the same time, the older one is the one that began earlier. */
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

/** Names with their data, so that they can be compared. */
function texts(options: readonly CertificateOption[]): string[] {
  return options.map(({ name, data }) => `${name}=${data.toString("hex")}`);
}
