/** Keys as `ssh-add -l` shows them. */
import { fingerprint } from "../protocol/fingerprint.ts";
import type { FingerprintHash } from "../protocol/public-key.ts";
import type { Description } from "./identities.ts";

/** A line of `ssh-add -l`. */
export function summary(
  { bits, keyBlob, type }: Description,
  comment: string,
  hash: FingerprintHash,
): string {
  return `${bits} ${fingerprint(keyBlob, hash)} ${comment} (${type})`;
}
