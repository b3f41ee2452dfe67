/** `add-certificate@cardagent.alt`: a certificate for a private key that the agent holds. */
import { type Certificate, forever, identify } from "../../protocol/certificate.ts";
import { decodeAddCertificate } from "../../protocol/extensions/add-certificate.ts";
import { Failure, malformed } from "../../protocol/failure.ts";
import type { Reply } from "../../protocol/replies.ts";
import { verifyCertificate } from "../../protocol/verification.ts";
import { type Agent, type ConnectionState, describeIdentity } from "../agent.ts";
import type { KeyringIdentity } from "../keyring.ts";
import { isPermitted } from "../policy/destinations.ts";
import { renews } from "../policy/renewal.ts";
import { limitsOf, narrow } from "../requests/limits.ts";

/** Attaches the certificate to its key, whose signer and constraints it shares. */
export function addCertificate(agent: Agent, connection: ConnectionState, body: Buffer): Reply {
  const request = decodeAddCertificate(body);
  const { limits } = limitsOf(agent, request.constraints, "certificate");
  const blob = Buffer.from(request.certificate);
  const identified = identify(blob);
  const certificate = identified?.certificate;
  if (identified === undefined || certificate === undefined) {
    throw malformed("What was sent is not a certificate.");
  }
  if (!verifyCertificate(blob)) {
    throw malformed("The certificate is not signed by the key of its authority.");
  }
  refuseExpired(certificate, agent.wallClock());
  const key = agent.keyring.findPrivateKey(identified.keyBlob);
  const { sessions } = connection.bindings;
  if (!key || !isPermitted(key.limits.destinations, sessions, undefined, agent.wallClock)) {
    throw new Failure("no-matching-key", "The agent does not hold the key of this certificate.");
  }
  const identity: KeyringIdentity = {
    ...identified,
    blob,
    comment: request.comment || key.comment,
    signer: key.signer,
    limits: narrow(key.limits, limits),
    provider: key.provider,
  };
  const replaced = request.replace ? olderOf(agent, identity) : new Set<KeyringIdentity>();
  agent.keyring.addCertificate(identity, key, replaced);
  agent.log(`attached ${describeIdentity(identity)}, in the place of ${replaced.size}`);
  return { type: "success" };
}

function refuseExpired(certificate: Certificate, now: bigint): void {
  if (certificate.validBefore === forever || certificate.validBefore > now) return;
  const end = new Date(Number(certificate.validBefore) * 1000).toISOString();
  throw new Failure("certificate-expired", `The certificate was valid until ${end}.`);
}

/** What a certificate renews, but for the very same certificate. */
function olderOf(agent: Agent, identity: KeyringIdentity): Set<KeyringIdentity> {
  const older = new Set<KeyringIdentity>();
  for (const other of agent.keyring.identities()) {
    const isSame = other.blob.equals(identity.blob);
    if (!isSame && renews(identity, other, agent.wallClock())) older.add(other);
  }
  return older;
}
