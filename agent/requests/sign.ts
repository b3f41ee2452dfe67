/** Request 13: a signature (RFC 9987, section 3.6). */
import { sanitizeName } from "../../openssh/text-for-display.ts";
import { plainAlgorithm } from "../../protocol/certificate.ts";
import type { Failure } from "../../protocol/failure.ts";
import { blobAlgorithm } from "../../protocol/public-key.ts";
import type { Reply } from "../../protocol/replies.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { type VerifiedKey, verifyKeyOrCertificate } from "../../protocol/verification.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { describeIdentity, type KeyringIdentity } from "../identity.ts";
import { confirmUse, SignInteraction, throwIfRemoved } from "../interaction.ts";
import { checkSignature } from "../policy/destinations.ts";
import { supersedes } from "../policy/renewal.ts";
import { certificateExpired } from "../policy/validity.ts";
import { checkWebsafe } from "../policy/websafe.ts";
import type { SignRequest } from "../signer.ts";
import { keyNotFound } from "./identities.ts";

/**
 * Signs, after the checks that the identity's constraints require. A signature by an expired certificate
 * waits a moment for its renewal.
 */
export function sign(
  agent: Agent,
  connection: ConnectionState,
  request: SignRequest,
): Reply | Promise<Reply> {
  const renewal = agent.renewals.runFor(request.keyBlob);
  if (renewal === undefined) return signNow(agent, connection, request);
  return renewal.then(() => {
    agent.lock.throwIfLocked();
    return signNow(agent, connection, request);
  });
}

function signNow(
  agent: Agent,
  connection: ConnectionState,
  request: SignRequest,
): Reply | Promise<Reply> {
  const known = agent.keyring.find(request.keyBlob);
  const named = known === undefined ? readCertificate(request.keyBlob) : undefined;
  const identity = known ?? (named && findForCertificate(agent, named));
  if (identity === undefined) return signUpstream(agent, connection, request, named);
  const { destinations, confirm } = identity.limits;
  let purpose: string | undefined;
  if (destinations.length > 0) {
    const { keyBlob, data } = request;
    const { bindings } = connection;
    const login = checkSignature(destinations, bindings, keyBlob, data, agent.wallClock);
    const user = sanitizeName(JSON.stringify(login.user));
    purpose = `Login as user ${user} at a listed host.`;
  }
  if (!confirm) return signWith(agent, connection, identity, request, purpose);
  const check = () => throwIfRemoved(agent, identity);
  return confirmUse(agent, connection, identity, purpose, check).then(() =>
    signWith(agent, connection, identity, request, purpose),
  );
}

/**
 * The identity that signs for a certificate that the agent does not hold. It is the plain key, within
 * the key's limits: a client whose certificate file has expired still asks for the certificate,
 * although ssh-add has added the key alone. Without the plain key, it is a certificate that supersedes
 * the named one, which the client may have listed just before.
 * @returns undefined if the agent does not hold the key
 */
function findForCertificate(
  { keyring, wallClock }: Agent,
  named: VerifiedKey,
): KeyringIdentity | undefined {
  const now = wallClock();
  return (
    keyring.find(named.keyBlob) ??
    [...keyring.identities()].find((one) => supersedes(one, named, now))
  );
}

/** A certificate; undefined for anything else. A plain key is not verified, which takes long. */
function readCertificate(blob: Buffer): VerifiedKey | undefined {
  try {
    const isCertificate = plainAlgorithm(blobAlgorithm(blob)) !== undefined;
    return isCertificate ? verifyKeyOrCertificate(blob) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Has the upstream agent sign that lists the key or, for a certificate that none lists, its plain
 * key.
 * @param named the certificate, if it is one
 * @throws {Failure} as `notHeld`, if none has it; upstream-failed
 */
async function signUpstream(
  agent: Agent,
  connection: ConnectionState,
  request: SignRequest,
  named: VerifiedKey | undefined,
): Promise<Reply> {
  const { upstreams } = connection;
  const blobs = named === undefined ? [request.keyBlob] : [request.keyBlob, named.keyBlob];
  const found = upstreams.findListed(blobs) ?? (await upstreams.find(blobs));
  if (found === undefined) throw notHeld(agent, connection, request.keyBlob);
  const { keyBlob, comment, connection: upstream } = found;
  const { path, confirm } = upstream.upstream;
  const check = () => agent.lock.throwIfLocked();
  check();
  if (confirm) await confirmUse(agent, connection, found, undefined, check);
  agent.log(`sign with ${JSON.stringify(comment)} of the agent at ${path}`);
  const signature = await upstream.sign(keyBlob, request.data, request.flags);
  return { type: "signature", signature };
}

/** The failure for a blob that nobody holds: also malformed or unsupported, if it is invalid. */
function notHeld({ wallClock }: Agent, { upstreams }: ConnectionState, blob: Buffer): Failure {
  const { certificate } = verifyKeyOrCertificate(blob);
  if (certificate && certificate.validBefore <= wallClock()) return certificateExpired(certificate);
  return keyNotFound(upstreams);
}

function signWith(
  agent: Agent,
  connection: ConnectionState,
  identity: KeyringIdentity,
  request: SignRequest,
  purpose: string | undefined,
): Reply | Promise<Reply> {
  const { key, signer } = identity;
  let how: string;
  if ("application" in key) {
    checkWebsafe(agent.settings.websafeAllow, key.application, request.data, request.keyBlob);
    how = "on an authenticator";
  } else how = signatureAlgorithm(key, request.flags);
  agent.log(`sign with ${describeIdentity(identity)}, ${how}`);
  const interaction = new SignInteraction(agent, connection, identity, purpose);
  const signature = signer.sign(request, interaction);
  if (Buffer.isBuffer(signature)) return { type: "signature", signature };
  return signature.then((bytes) => {
    throwIfRemoved(agent, identity);
    return { type: "signature", signature: bytes };
  });
}
