/** Request 13: a signature (RFC 9987, section 3.6). */
import { sanitizeName } from "../../openssh/text-for-display.ts";
import { Failure } from "../../protocol/failure.ts";
import type { Reply } from "../../protocol/replies.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { describeIdentity, type KeyringIdentity } from "../identity.ts";
import { confirmUse, SignInteraction, throwIfRemoved } from "../interaction.ts";
import { checkSignature } from "../policy/destinations.ts";
import { certificateExpired } from "../policy/validity.ts";
import { checkWebsafe } from "../policy/websafe.ts";
import type { SignRequest } from "../signer.ts";

/** Signs, after the checks that the identity's constraints require. */
export function sign(
  agent: Agent,
  connection: ConnectionState,
  request: SignRequest,
): Reply | Promise<Reply> {
  const identity = findSigner(agent, request.keyBlob);
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
  return confirmUse(agent, connection, identity, purpose).then(() =>
    signWith(agent, connection, identity, request, purpose),
  );
}

/**
 * The identity that signs for a blob. For a certificate that the agent does not hold it is the
 * plain key, within the key's limits: a client whose certificate file has expired still asks for
 * the certificate, although ssh-add has added the key alone.
 * @throws {Failure} key-not-found; certificate-expired; malformed or unsupported, for an invalid
 *   blob
 */
function findSigner({ keyring, wallClock }: Agent, blob: Buffer): KeyringIdentity {
  const known = keyring.find(blob);
  if (known !== undefined) return known;
  const { certificate, keyBlob } = verifyKeyOrCertificate(blob);
  const key = certificate && keyring.find(keyBlob);
  if (key !== undefined) return key;
  if (certificate && certificate.validBefore <= wallClock()) throw certificateExpired(certificate);
  throw new Failure("key-not-found", "The agent does not hold this key.");
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
  return signature.then(
    (bytes) => {
      throwIfRemoved(agent, identity);
      return { type: "signature", signature: bytes };
    },
    (error) => {
      agent.lock.throwIfLocked(); // a lock takes precedence over the error
      throw error;
    },
  );
}
