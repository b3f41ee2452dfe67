/** What the agent holds: a key or certificate, what signs for it, and what limits its use. */
import type { DestinationConstraint } from "../protocol/constraints.ts";
import type { VerifiedKey } from "../protocol/verification.ts";
import { dropTime } from "./policy/validity.ts";
import type { Signer } from "./signer.ts";

/** A key or certificate that the agent can use. */
export interface KeyringIdentity extends VerifiedKey {
  /** The blob that clients name it by: the plain key's, or the certificate's. */
  readonly blob: Buffer;
  readonly comment: string;
  readonly signer: Signer;
  readonly limits: Limits;
  /**
   * When the private key is removed, on the keyring's clock, in milliseconds; undefined for never.
   * Certificates that are attached to it go by then.
   */
  readonly keyExpires: number | undefined;
  /** When a certificate is dropped because it has ended, in seconds since 1970; undefined for never. */
  readonly dropped: bigint | undefined;
  /** The canonical path of the provider that serves it; undefined for a key in memory. */
  readonly provider: string | undefined;
}

/** What limits the use of an identity. */
export interface Limits {
  /** When it is removed, on the keyring's clock, in milliseconds; undefined for never. */
  readonly expires: number | undefined;
  /** Whether each use has to be confirmed. */
  readonly confirm: boolean;
  /** Where it may be used; empty for anywhere. */
  readonly destinations: readonly DestinationConstraint[];
}

/** What a request says of an identity beside its blob. */
type Details = Pick<KeyringIdentity, "comment" | "signer" | "limits" | "provider"> & {
  /** When the private key goes, if not by the identity's own limits. */
  readonly keyExpires?: number | undefined;
  /** Whether a certificate stays after its end. */
  readonly keepEnded: boolean;
};

/**
 * The identity of a verified key or certificate.
 * @param blob what was verified; it is kept
 * @param grace seconds that certificates stay after their end; undefined for ever
 */
export function makeIdentity(
  verified: VerifiedKey,
  blob: Buffer,
  { keepEnded, ...details }: Details,
  grace: number | undefined,
): KeyringIdentity {
  const dropped = keepEnded ? undefined : dropTime(verified.certificate, grace);
  return { keyExpires: details.limits.expires, ...verified, ...details, blob, dropped };
}

/** An identity as the log names it. */
export function describeIdentity({ certificate, comment }: KeyringIdentity): string {
  return `${certificate === undefined ? "key" : "certificate"} ${JSON.stringify(comment)}`;
}
