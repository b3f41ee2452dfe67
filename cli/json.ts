/** JSON output: one document on one line, as documented in docs/JSON.md. */
import { stringifyForDisplay } from "../openssh/text-for-display.ts";
import type { Certificate } from "../protocol/certificate.ts";
import type { ProviderDescription } from "../protocol/extensions/list-providers.ts";
import type { RenewalDescription } from "../protocol/extensions/list-renewals.ts";
import type { UpstreamDescription } from "../protocol/extensions/list-upstreams.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import type { FingerprintHash } from "../protocol/public-key.ts";
import type { Identity } from "../protocol/replies.ts";
import { describe, renewalOf, withAttached } from "./identities.ts";

/** Increased when a field is removed or changes its meaning, not for new fields. */
const format = 1;

/** `ssh-add -l --json` and `ssh-add -L --json`. */
export function identitiesAsJson(
  identities: readonly Identity[],
  hash: FingerprintHash,
  renewals: readonly RenewalDescription[] = [],
): string {
  const fieldsOf = identityFields({ identities, renewals, hash });
  return stringifyForDisplay({ format, identities: identities.map(fieldsOf) });
}

/** `ssh-add -Q --json`. */
export function extensionsAsJson(extensions: readonly string[]): string {
  return stringifyForDisplay({ format, extensions });
}

/** What the agent lists beside its providers. */
interface Listed {
  /** All of the agent's identities, which have the comments. */
  readonly identities: readonly Identity[];
  readonly renewals: readonly RenewalDescription[];
  /** Left out if empty, as most agents have none. */
  readonly upstreams: readonly UpstreamDescription[];
  readonly hash: FingerprintHash;
}

/** `ssh-add --list-providers --json`. */
export function providersAsJson(providers: readonly ProviderDescription[], listed: Listed): string {
  const { identities, upstreams } = listed;
  const fieldsOf = identityFields(listed);
  const fieldsOfBlob = (keyBlob: Buffer) =>
    fieldsOf(identities.find((known) => known.keyBlob.equals(keyBlob)) ?? { keyBlob, comment: "" });
  return stringifyForDisplay({
    format,
    providers: providers.map(
      ({
        path,
        requested,
        state,
        tokens,
        tokenStates,
        isReleased = false,
        identities: blobs,
        leftOut = [],
      }) => ({
        path,
        requested,
        state,
        released: isReleased,
        tokens: tokens.map(({ label, manufacturer, model, serial }, at) => ({
          label,
          manufacturer,
          model,
          serial,
          state: tokenStates?.[at] ?? state,
        })),
        identities: blobs.map(fieldsOfBlob),
        leftOut: leftOut.map(({ object, reason, token = null }) => ({ token, object, reason })),
      }),
    ),
    ...(upstreams.length > 0 && {
      upstreams: upstreams.map(({ path, state, name, identities: blobs }) => ({
        path,
        state,
        name,
        identities: withAttached(blobs, identities).map(fieldsOfBlob),
      })),
    }),
  });
}

function identityFields({ identities, renewals, hash }: Omit<Listed, "upstreams">) {
  return ({ keyBlob, comment }: Identity) => {
    const described = describe(keyBlob);
    const renewal = renewalOf(keyBlob, renewals, identities);
    return {
      type: described?.type ?? "",
      algorithm: described?.algorithm ?? "",
      bits: described?.bits ?? 0,
      fingerprint: fingerprint(described?.keyBlob ?? keyBlob, hash),
      comment,
      blob: keyBlob.toString("base64"),
      certificate: described?.certificate ? certificateFields(described.certificate, hash) : null,
      renewal: renewal ? renewalFields(renewal) : null,
    };
  };
}

function renewalFields({ state, lastTry, nextTry, lastError }: RenewalDescription) {
  return { state, lastTry: isoTime(lastTry), nextTry: isoTime(nextTry), lastError };
}

function certificateFields(certificate: Certificate, hash: FingerprintHash) {
  return {
    type: certificate.type,
    keyId: certificate.keyId,
    serial: certificate.serial.toString(),
    principals: certificate.principals,
    validAfter: isoTime(certificate.validAfter),
    validBefore: isoTime(certificate.validBefore),
    criticalOptions: certificate.criticalOptions.map(({ name }) => name),
    extensions: certificate.extensions.map(({ name }) => name),
    caType: describe(certificate.caKey)?.type ?? "",
    caFingerprint: fingerprint(certificate.caKey, hash),
  };
}

/** The last second of the year 9999; later times count as unlimited. */
const lastSecond = 253_402_300_799n;

/** Seconds since 1970 as `2030-01-31T12:00:00Z`; null for 0 and for unlimited. */
function isoTime(seconds: bigint): string | null {
  if (seconds === 0n || seconds > lastSecond) return null;
  return new Date(Number(seconds) * 1000).toISOString().replace(".000Z", "Z");
}
