/** Attaches certificates to private keys that the agent can use: its own, a token's, an upstream's. */
import type { AddCertificate } from "../../protocol/extensions/add-certificate.ts";
import { Failure, invalidCertificate } from "../../protocol/failure.ts";
import { type VerifiedKey, verifyKeyOrCertificate } from "../../protocol/verification.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { describeIdentity, type KeyringIdentity, makeIdentity } from "../identity.ts";
import { isVisible, refuseHidden } from "../policy/destinations.ts";
import { supersededBy } from "../policy/renewal.ts";
import { certificateExpired } from "../policy/validity.ts";
import type { UpstreamIdentity } from "../upstream/upstream-connection.ts";
import { UpstreamSigner } from "../upstream/upstream-signer.ts";
import type { ClientUpstreams } from "../upstream/upstreams.ts";
import { refuseTooMany, visibleIdentities } from "./identities.ts";
import { type Constraints, intersectLimits, limitsOf, sooner } from "./limits.ts";

/** Who attaches a certificate: a client's connection, or the agent itself. */
export type Attacher = Pick<ConnectionState, "bindings" | "upstreams">;

/** A certificate that is valid now. */
interface Attachment {
  readonly request: AddCertificate;
  readonly constraints: Constraints;
  readonly verified: VerifiedKey;
  /** The certificate's blob, not shared with the request's. */
  readonly blob: Buffer;
  /** Seconds until it expires. */
  readonly secondsLeft: bigint;
}

/** What a certificate takes over from its key. */
type Inherited = Pick<
  KeyringIdentity,
  "comment" | "signer" | "limits" | "keyExpires" | "provider" | "upstream" | "isRemote"
>;

/**
 * Attaches the certificate to its key, whose signer and constraints it shares. If the key is removed,
 * the certificate stays, and the next certificate inherits its constraints, except for a lifetime that
 * is the certificate's own validity. The key may be an upstream agent's.
 * @param older a certificate of the same key whose constraints it inherits too
 * @returns a promise only if upstream agents have to be asked
 * @throws {Failure} no-matching-key, certificate-expired, too-large, destination-not-permitted,
 *   malformed, unsupported
 */
export function attachCertificate(
  agent: Agent,
  attacher: Attacher,
  request: AddCertificate,
  older?: KeyringIdentity,
): void | Promise<void> {
  const attachment = readAttachment(agent, request);
  const { keyBlob } = attachment.verified;
  const isListed = (one: KeyringIdentity) => isVisible(one, attacher.bindings, agent.wallClock);
  const known = agent.keyring.withPrivateKey(keyBlob);
  const held = known.filter(({ upstream }) => upstream === undefined);
  const own = held.find(isListed);
  if (own !== undefined) return attach(agent, attacher, attachment, narrowed(own, older), own);
  // A key that is constrained here is not lent its upstream's rights.
  if (attacher.upstreams.isEmpty || held.length > 0) throw noMatchingKey(attacher.upstreams);
  return attacher.upstreams.find([keyBlob]).then((found) => {
    agent.lock.throwIfLocked();
    if (found === undefined) throw noMatchingKey(attacher.upstreams);
    const before = known.find(isListed);
    return attach(agent, attacher, attachment, narrowed(inheritedFrom(found), older), before);
  });
}

function readAttachment(agent: Agent, request: AddCertificate): Attachment {
  const constraints = limitsOf(agent, request.constraints, "certificate");
  const blob = Buffer.from(request.certificate);
  const verified = verifyKeyOrCertificate(blob);
  const { certificate } = verified;
  if (certificate === undefined) {
    throw invalidCertificate("Invalid certificate: this is a plain key.");
  }
  const secondsLeft = certificate.validBefore - agent.wallClock();
  if (secondsLeft <= 0n) throw certificateExpired(certificate);
  return { request, constraints, verified, blob, secondsLeft };
}

function noMatchingKey({ missingHint }: ClientUpstreams): Failure {
  const sentence = "The agent does not hold the key of this certificate.";
  return new Failure("no-matching-key", sentence, missingHint);
}

function inheritedFrom({ keyBlob, comment, connection }: UpstreamIdentity): Inherited {
  const { path, confirm } = connection.upstream;
  return {
    comment,
    signer: new UpstreamSigner(path, keyBlob),
    limits: { expires: undefined, confirm, destinations: [] },
    keyExpires: undefined,
    provider: undefined,
    upstream: path,
    isRemote: false,
  };
}

/** What a certificate takes over from its key and from an older certificate. */
function narrowed(key: Inherited, older: KeyringIdentity | undefined): Inherited {
  if (older === undefined) return key;
  const keyExpires = sooner(key.keyExpires, older.keyExpires);
  return { ...key, limits: intersectLimits(key.limits, older.limits), keyExpires };
}

/** @param before the identity that the certificate is listed before; undefined for the end */
function attach(
  agent: Agent,
  attacher: Attacher,
  { request, constraints, verified, blob, secondsLeft }: Attachment,
  key: Inherited,
  before: KeyringIdentity | undefined,
): void {
  const { limits, keepEnded } = constraints;
  refuseHidden(agent.keyring.findAll(blob), attacher.bindings, agent.wallClock);
  const isCertificateLifetime =
    limits.expires !== undefined &&
    limits.expires - agent.clock.now() >= Number(secondsLeft) * 1000;
  const { signer, provider, upstream } = key;
  const details = {
    comment: request.comment || key.comment,
    signer,
    limits: intersectLimits({ ...key.limits, expires: key.keyExpires }, limits),
    keyExpires: isCertificateLifetime ? key.keyExpires : sooner(key.keyExpires, limits.expires),
    keepEnded,
    provider,
    upstream,
    isRemote: attacher.bindings.isRemote || key.isRemote,
  };
  const identity = makeIdentity(verified, blob, details, agent.settings.certificateGrace);
  const others = request.replace ? visibleIdentities(agent, attacher) : [];
  const replaced = supersededBy(identity, others, agent.wallClock());
  const isSame = (one: KeyringIdentity) => one.provider === provider && one.blob.equals(blob);
  refuseTooMany(agent, [identity], (one) => replaced.has(one) || isSame(one));
  agent.keyring.addCertificate(identity, before, replaced);
  const place = replaced.size === 0 ? "" : `, in the place of ${replaced.size}`;
  agent.log(`attached ${describeIdentity(identity)}${place}`);
}
