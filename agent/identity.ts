/** Identities: keys and certificates, with their signer and limits. */
import type { DestinationConstraint } from "../protocol/constraints.ts";
import type { VerifiedKey } from "../protocol/verification.ts";
import { dropTime } from "./policy/validity.ts";
import type { Signer } from "./signer.ts";

/** A key or certificate that the agent can use. */
export interface KeyringIdentity extends VerifiedKey {
  /** The blob by which clients name it: the plain key's or the certificate's. */
  readonly blob: Buffer;
  readonly comment: string;
  readonly signer: Signer;
  readonly limits: Limits;
  /**
   * When the private key is removed, on the keyring's clock, in milliseconds; undefined for never.
   * Certificates attached to the key are removed with it.
   */
  readonly keyExpires: number | undefined;
  /** When an expired certificate is dropped, in seconds since 1970; undefined for never. */
  readonly dropped: bigint | undefined;
  /** The canonical path of the provider that serves it; undefined for a key elsewhere. */
  readonly provider: string | undefined;
  /** The socket of the upstream agent that holds its key; undefined for a key that is held here. */
  readonly upstream: string | undefined;
  /** Whether it came over a forwarded connection; the agent then asks nobody for a new certificate. */
  readonly isRemote: boolean;
}

/** Limits on the use of an identity. */
export interface Limits {
  /** When it is removed, on the keyring's clock, in milliseconds; undefined for never. */
  readonly expires: number | undefined;
  /** Whether each use has to be confirmed. */
  readonly confirm: boolean;
  /** Where it may be used; empty for anywhere. */
  readonly destinations: readonly DestinationConstraint[];
}

/** The parts of an identity that do not follow from its blob. */
type Details = Pick<KeyringIdentity, "comment" | "signer" | "limits" | "isRemote"> & {
  readonly provider?: string | undefined;
  readonly upstream?: string | undefined;
  /** When the private key is removed, if it is not `limits.expires`. */
  readonly keyExpires?: number | undefined;
  /** Whether a certificate stays after it expires. */
  readonly keepEnded: boolean;
};

/**
 * Makes the identity of a verified key or certificate.
 * @param blob of the key or certificate; not copied
 * @param grace seconds that certificates stay after they expire; undefined for ever
 */
export function makeIdentity(
  verified: VerifiedKey,
  blob: Buffer,
  { keepEnded, ...details }: Details,
  grace: number | undefined,
): KeyringIdentity {
  const dropped = keepEnded ? undefined : dropTime(verified.certificate, grace);
  const { provider, upstream } = details;
  const keyExpires = details.limits.expires;
  return { keyExpires, ...verified, ...details, provider, upstream, blob, dropped };
}

/** An identity's description in the log. */
export function describeIdentity({ certificate, comment }: KeyringIdentity): string {
  return `${certificate === undefined ? "key" : "certificate"} ${JSON.stringify(comment)}`;
}
