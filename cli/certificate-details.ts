/** What `ssh-add -l -v` shows below a line of -l: a certificate, and when the agent renews it. */
import { Chalk } from "chalk";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import type { RenewalDescription } from "../protocol/extensions/list-renewals.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import type { FingerprintHash } from "../protocol/public-key.ts";
import { type Description, describe } from "./identities.ts";
import { formatSpan, needsAttention, validity } from "./validity.ts";

/** How the details are shown. */
export interface DetailsView {
  readonly hash: FingerprintHash;
  /** Seconds since 1970. */
  readonly now: number;
  readonly isPlain: boolean;
}

/**
 * Indented lines, safe to show on a terminal, in the manner of `ssh-keygen -L`. The CA's signature is
 * not checked.
 */
export function detailLines(
  { certificate }: Description,
  renewal: RenewalDescription | undefined,
  { hash, now, isPlain }: DetailsView,
): string[] {
  const colours = isPlain ? new Chalk({ level: 0 }) : new Chalk();
  const lines: [label: string, text: string][] = [];
  if (certificate !== undefined) {
    const { keyId, principals, caKey } = certificate;
    const paint = needsAttention(certificate, now) ? colours.yellow : colours.green;
    lines.push(
      ["Key ID", `"${sanitizeForDisplay(keyId)}"`],
      ["Principals", sanitizeForDisplay(principals.join(", ")) || "(none)"],
      ["CA", `${describe(caKey)?.type ?? ""} ${colours.cyan(fingerprint(caKey, hash))}`],
      ["Validity", paint(validity(certificate, now))],
    );
  }
  if (renewal !== undefined) {
    const paint = renewal.lastError === "" ? colours.green : colours.yellow;
    lines.push(["Renewal", paint(sanitizeForDisplay(renewalText(renewal, now)))]);
  }
  return lines.map(([label, text]) => `        ${colours.dim(`${label}:`)} ${text}`);
}

/**
 * As in `in 2h8m, last 2h ago`, `in 38s, after a failure 2s ago: The program exited with status 2.`, or
 * `running for 3s`, where the failure is that of the run before.
 */
function renewalText(
  { state, lastTry, nextTry, lastError }: RenewalDescription,
  now: number,
): string {
  const span = formatSpan(max(BigInt(now) - lastTry, 0n));
  if (state === "running") {
    return `running for ${span}${lastError === "" ? "" : `, after a failure: ${lastError}`}`;
  }
  const wait = nextTry - BigInt(now);
  const next = wait > 0n ? `in ${formatSpan(wait)}` : "due";
  if (lastTry === 0n) return next;
  if (lastError === "") return `${next}, last ${span} ago`;
  return `${next}, after a failure ${span} ago: ${lastError}`;
}

function max(one: bigint, other: bigint): bigint {
  return one > other ? one : other;
}
