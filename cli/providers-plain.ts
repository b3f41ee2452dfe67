/**
 * Providers and upstream agents as lines for scripts: each line has the path of the library or of the
 * upstream's socket as its second field.
 */
import type { LeftOutObject, ProviderDescription } from "../protocol/extensions/list-providers.ts";
import type { UpstreamDescription } from "../protocol/extensions/list-upstreams.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import type { FingerprintHash } from "../protocol/public-key.ts";
import type { Identity } from "../protocol/replies.ts";
import { describe, summary, withAttached } from "./identities.ts";
import { validity } from "./validity.ts";

/** The providers and upstream agents to print, and how. */
export interface ProvidersView {
  readonly providers: readonly ProviderDescription[];
  readonly upstreams: readonly UpstreamDescription[];
  /** All of the agent's identities, which have the comments. */
  readonly identities: readonly Identity[];
  readonly hash: FingerprintHash;
  /** Seconds since 1970. */
  readonly now: number;
}

/**
 * Six kinds of lines: `provider PATH STATE` (`released` for tokens that are given back),
 * `token PATH LABEL (MANUFACTURER, MODEL, SERIAL)`, `key PATH` and a line as of -l,
 * `certificate PATH` and a line as of -l, key ID and validity, `left-out PATH OBJECT: REASON`, and
 * `upstream PATH STATE NUMBER NAME`.
 */
export function plainLines(view: ProvidersView): string[] {
  const upstreams = view.upstreams.flatMap(({ path, state, name, identities }) => [
    `upstream ${path} ${state} ${identities.length} ${name}`.trimEnd(),
    ...withAttached(identities, view.identities).flatMap((blob) => identityLine(view, path, blob)),
  ]);
  return [...providerLines(view), ...upstreams];
}

function providerLines(view: ProvidersView): string[] {
  return view.providers.flatMap((provider) => {
    const { path, state, isReleased, tokens, identities, leftOut = [] } = provider;
    const lines = [`provider ${path} ${isReleased === true ? "released" : state}`];
    for (const { label, manufacturer, model, serial } of tokens) {
      lines.push(`token ${path} ${label} (${manufacturer}, ${model}, ${serial})`);
    }
    for (const blob of identities) lines.push(...identityLine(view, path, blob));
    for (const one of leftOut) lines.push(`left-out ${path} ${leftOutText(one)}`);
    return lines;
  });
}

/** What was left out, and why. */
export function leftOutText({ object, reason }: LeftOutObject): string {
  return `${object}: ${reason}`;
}

/** The comment that the agent lists for a key blob. */
export function commentOf({ identities }: ProvidersView, blob: Buffer): string {
  return identities.find(({ keyBlob }) => keyBlob.equals(blob))?.comment ?? "";
}

function identityLine(view: ProvidersView, path: string, blob: Buffer): string[] {
  const described = describe(blob);
  if (described === undefined) return [];
  const line = summary(described, fingerprint(described.keyBlob, view.hash), commentOf(view, blob));
  const { certificate } = described;
  if (certificate === undefined) return [`key ${path} ${line}`];
  return [`certificate ${path} ${line} "${certificate.keyId}" ${validity(certificate, view.now)}`];
}
