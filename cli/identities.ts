/** Key blobs as they are displayed. */
import { type Certificate, parseKeyOrCertificate } from "../protocol/certificate.ts";
import type { RenewalDescription } from "../protocol/extensions/list-renewals.ts";
import { blobAlgorithm, keyBits, keyTypeName } from "../protocol/public-key.ts";
import type { Identity } from "../protocol/replies.ts";

/** The displayed properties of a key blob. */
export interface Description {
  /** The algorithm name at the start of the blob. */
  readonly algorithm: string;
  /** As in `ED25519-CERT`; for an unknown key type, its algorithm name. */
  readonly type: string;
  /** The key's size; 0 for an unknown key type. */
  readonly bits: number;
  /** The blob of the plain key, which the fingerprint hashes. */
  readonly keyBlob: Buffer;
  readonly certificate: Certificate | undefined;
}

/** Describes a key blob; undefined for an invalid one. */
export function describe(blob: Buffer): Description | undefined {
  try {
    const algorithm = blobAlgorithm(blob);
    const parsed = parseKeyOrCertificate(blob);
    if (parsed === undefined) {
      return { algorithm, type: algorithm, bits: 0, keyBlob: blob, certificate: undefined };
    }
    const { key, keyBlob, certificate } = parsed;
    const type = keyTypeName(key) + (certificate === undefined ? "" : "-CERT");
    return { algorithm, type, bits: keyBits(key), keyBlob, certificate };
  } catch {
    return undefined;
  }
}

/** The type of the plain key, as in `ED25519` for `ED25519-CERT`. */
export function plainType({ type }: Description): string {
  return type.replace(/-CERT$/, "");
}

/** A line of `ssh-add -l`. @param print the fingerprint */
export function summary({ bits, type }: Description, print: string, comment: string): string {
  return `${bits} ${print} ${comment} (${type})`;
}

/** The line of a list without identities. */
export const noIdentities = "The agent has no identities.";

/** A line of `ssh-add -L`. */
export function publicKeyLine({ algorithm }: Description, { keyBlob, comment }: Identity): string {
  return `${algorithm} ${keyBlob.toString("base64")} ${comment}`;
}

/**
 * The renewal to show for an identity: that of a certificate, or of a key whose certificate the agent
 * does not list.
 */
export function renewalOf(
  blob: Buffer,
  renewals: readonly RenewalDescription[],
  identities: readonly Identity[],
): RenewalDescription | undefined {
  const isListed = (certificate: Buffer) =>
    identities.some(({ keyBlob }) => keyBlob.equals(certificate));
  return (
    renewals.find(({ certificate }) => certificate.equals(blob)) ??
    renewals.find(({ keyBlob, certificate }) => keyBlob.equals(blob) && !isListed(certificate))
  );
}

/** The blobs of an upstream agent, after the certificates that this agent lists for its keys. */
export function withAttached(blobs: readonly Buffer[], identities: readonly Identity[]): Buffer[] {
  const isTheirs = (blob: Buffer) => blobs.some((one) => one.equals(blob));
  const attached = identities.filter(({ keyBlob }) => {
    const described = describe(keyBlob);
    return described?.certificate && isTheirs(described.keyBlob) && !isTheirs(keyBlob);
  });
  return [...attached.map(({ keyBlob }) => keyBlob), ...blobs];
}
