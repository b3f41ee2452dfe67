/** `add-certificate@cardagent.alt`: a certificate for a private key that the agent holds. */
import { decodeAddCertificate } from "../../protocol/extensions/add-certificate.ts";
import { Failure, invalidCertificate } from "../../protocol/failure.ts";
import type { Reply } from "../../protocol/replies.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { describeIdentity, type KeyringIdentity, makeIdentity } from "../identity.ts";
import { isVisible, refuseHidden } from "../policy/destinations.ts";
import { supersededBy } from "../policy/renewal.ts";
import { certificateExpired } from "../policy/validity.ts";
import { refuseTooMany, visibleIdentities } from "../requests/identities.ts";
import { intersectLimits, limitsOf, sooner } from "../requests/limits.ts";

/**
 * Attaches the certificate to its key, whose signer and constraints it shares. If the key is removed,
 * the certificate stays, and the next certificate inherits its constraints, except for a lifetime that
 * is the certificate's own validity.
 */
export function addCertificate(agent: Agent, connection: ConnectionState, body: Buffer): Reply {
  const request = decodeAddCertificate(body);
  const { limits, keepEnded } = limitsOf(agent, request.constraints, "certificate");
  const blob = Buffer.from(request.certificate);
  const verified = verifyKeyOrCertificate(blob);
  if (verified.certificate === undefined) {
    throw invalidCertificate("Invalid certificate: this is a plain key.");
  }
  const { certificate } = verified;
  const secondsLeft = certificate.validBefore - agent.wallClock();
  if (secondsLeft <= 0n) throw certificateExpired(certificate);
  const isListed = (one: KeyringIdentity) => isVisible(one, connection.bindings, agent.wallClock);
  const key = agent.keyring.withPrivateKey(verified.keyBlob).find(isListed);
  if (key === undefined) {
    throw new Failure("no-matching-key", "The agent does not hold the key of this certificate.");
  }
  refuseHidden(agent.keyring.findAll(blob), connection.bindings, agent.wallClock);
  const isCertificateLifetime =
    limits.expires !== undefined &&
    limits.expires - agent.clock.now() >= Number(secondsLeft) * 1000;
  const { signer, provider } = key;
  const details = {
    comment: request.comment || key.comment,
    signer,
    limits: intersectLimits({ ...key.limits, expires: key.keyExpires }, limits),
    keyExpires: isCertificateLifetime ? key.keyExpires : sooner(key.keyExpires, limits.expires),
    keepEnded,
    provider,
  };
  const identity = makeIdentity(verified, blob, details, agent.settings.certificateGrace);
  const others = request.replace ? visibleIdentities(agent, connection) : [];
  const replaced = supersededBy(identity, others, agent.wallClock());
  const isSame = (one: KeyringIdentity) => one.provider === provider && one.blob.equals(blob);
  refuseTooMany(agent, [identity], (one) => replaced.has(one) || isSame(one));
  agent.keyring.addCertificate(identity, key, replaced);
  agent.log(`attached ${describeIdentity(identity)}, in the place of ${replaced.size}`);
  return { type: "success" };
}
