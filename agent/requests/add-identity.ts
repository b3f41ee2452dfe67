/** Requests 17 and 25: add a private key, alone or with its certificate (RFC 9987, section 3.2). */

import { Failure } from "../../protocol/failure.ts";
import { identityBlob, type PrivateKey, wipePrivateKey } from "../../protocol/private-key.ts";
import { blobId } from "../../protocol/public-key.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { RequestOf } from "../../protocol/requests.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { Authenticator } from "../fido/authenticator.ts";
import { describeIdentity, type KeyringIdentity, makeIdentity } from "../identity.ts";
import { SoftwareKey } from "../keys/software-key.ts";
import { refuseHidden } from "../policy/destinations.ts";
import { supersededBy } from "../policy/renewal.ts";
import { certificateExpired } from "../policy/validity.ts";
import type { Signer } from "../signer.ts";
import { refuseTooMany, visibleIdentities } from "./identities.ts";
import { limitsOf } from "./limits.ts";

/** The name of OpenSSH's built-in library. */
const internalProvider = "internal";

/**
 * Adds an identity, or gives the one with the same blob a new comment and new constraints. A
 * certificate replaces those that it supersedes.
 */
export async function addIdentity(
  agent: Agent,
  connection: ConnectionState,
  request: RequestOf<"add-identity">,
): Promise<Reply> {
  const { key, comment, constraints } = request;
  let signer: Signer | undefined;
  try {
    const { limits, keepEnded, skProvider } = limitsOf(agent, constraints, "key");
    const blob = Buffer.from(identityBlob(key));
    const verified = verifyKeyOrCertificate(blob);
    const certified = { ...key, publicKey: verified.key };
    signer = await signerOf(agent, connection, certified, skProvider);
    agent.lock.throwIfLocked();
    const { isRemote } = connection.bindings;
    const details = { comment, signer, limits, isRemote, keepEnded };
    const identity = makeIdentity(verified, blob, details, agent.settings.certificateGrace);
    refuseDropped(identity, agent.wallClock());
    // A client that has the key could otherwise add it again without its limits.
    refuseHidden(agent.keyring.findAll(blob), connection.bindings, agent.wallClock);
    const visible = visibleIdentities(agent, connection);
    const renewed = supersededBy(identity, visible, agent.wallClock());
    const isOwn = ({ provider, blob: other }: KeyringIdentity) =>
      provider === undefined && other.equals(blob);
    refuseTooMany(agent, [identity], (one) => renewed.has(one) || isOwn(one));
    agent.keyring.add(identity, renewed);
    const place = renewed.size === 0 ? "" : `, in the place of ${renewed.size}`;
    agent.log(`added ${describeIdentity(identity)}${place}`);
    await agent.certificateFolder?.keysAdded(new Set([blobId(identity.keyBlob)]));
    return { type: "success" };
  } catch (error) {
    signer?.forget?.();
    throw error;
  } finally {
    wipePrivateKey(key);
  }
}

/** Refuses a certificate that would be dropped at once. */
function refuseDropped({ certificate, dropped }: KeyringIdentity, now: bigint): void {
  if (certificate === undefined || dropped === undefined || dropped > now) return;
  throw certificateExpired(certificate);
}

/**
 * The signer of a private key. A key on an authenticator is not tried, since it may need a touch.
 * @param provider the library that the client names for a FIDO key; by default OpenSSH's own
 */
async function signerOf(
  agent: Agent,
  connection: ConnectionState,
  key: PrivateKey,
  provider: string | undefined,
): Promise<Signer> {
  const isOnAuthenticator = key.secret.type === "sk-ecdsa" || key.secret.type === "sk-ed25519";
  if (!isOnAuthenticator) {
    if (provider === undefined) return SoftwareKey.import(agent.softwareKeys, key);
    throw new Failure("unsupported", "The sk-provider constraint is for FIDO keys only.");
  }
  const isInternal = provider === undefined || provider.toLowerCase() === internalProvider;
  if (isInternal) return new Authenticator(agent.authenticators, key, internalProvider);
  if (connection.bindings.isRemote && !agent.settings.allowRemotePkcs11) {
    throw new Failure("remote-refused", "Forwarded connections may not name a library.");
  }
  const path = await agent.providers.allowedPath(provider);
  return new Authenticator(agent.authenticators, key, path);
}
