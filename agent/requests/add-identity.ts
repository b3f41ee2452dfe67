/** Requests 17 and 25: a private key, alone or with its certificate (RFC 9987, section 3.2). */
import { identify } from "../../protocol/certificate.ts";
import { Failure, malformed } from "../../protocol/failure.ts";
import { identityBlob, type PrivateKey, wipePrivateKey } from "../../protocol/private-key.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Request } from "../../protocol/requests.ts";
import { verifyCertificate } from "../../protocol/verification.ts";
import { type Agent, type ConnectionState, describeIdentity } from "../agent.ts";
import { Authenticator } from "../fido/authenticator.ts";
import type { KeyringIdentity } from "../keyring.ts";
import { type Signer, softwareSigner } from "../keys/software-key.ts";
import { renewedBy } from "../policy/renewal.ts";
import { certificateEnded, dropTime } from "../policy/validity.ts";
import { visibleIdentities } from "./identities.ts";
import { limitsOf } from "./limits.ts";

/** The name of the library that is a part of OpenSSH. */
const internalProvider = "internal";

/**
 * Adds an identity, or gives the one with the same blob a new comment and new constraints. A
 * certificate takes the place of those that it renews.
 */
export async function addIdentity(
  agent: Agent,
  connection: ConnectionState,
  request: Extract<Request, { type: "add-identity" }>,
): Promise<Reply> {
  const { key, comment, constraints } = request;
  try {
    const { limits, keepEnded, skProvider } = limitsOf(agent, constraints, "key");
    const blob = Buffer.from(identityBlob(key));
    const identified = identify(blob);
    if (identified === undefined) throw malformed("The key's type is not known.");
    const { certificate } = identified;
    if (certificate !== undefined && !verifyCertificate(blob)) {
      throw malformed("The certificate is not signed by the key of its authority.");
    }
    const signer = await signerOf(
      agent,
      connection,
      { ...key, publicKey: identified.key },
      skProvider,
    );
    const identity: KeyringIdentity = {
      ...identified,
      blob,
      comment,
      signer,
      limits,
      keyExpires: limits.expires,
      dropped: keepEnded ? undefined : dropTime(certificate, agent.settings.certificateGrace),
      provider: undefined,
    };
    refuseDropped(identity, agent.wallClock());
    const visible = visibleIdentities(agent, connection);
    const renewed = renewedBy(identity, visible, agent.wallClock());
    agent.keyring.add(identity, renewed);
    const place = renewed.size === 0 ? "" : `, in the place of ${renewed.size}`;
    agent.log(`added ${describeIdentity(identity)}${place}`);
    return { type: "success" };
  } finally {
    wipePrivateKey(key);
  }
}

/** Refuses a certificate that would be dropped at once. */
function refuseDropped({ certificate, dropped }: KeyringIdentity, now: bigint): void {
  if (certificate === undefined || dropped === undefined || dropped > now) return;
  throw certificateEnded(certificate);
}

/**
 * What signs for a private key. A key on an authenticator cannot be tried out: it may want a touch.
 * @param provider the library that the client names for such a key; OpenSSH's own without it
 */
async function signerOf(
  agent: Agent,
  connection: ConnectionState,
  key: PrivateKey,
  provider: string | undefined,
): Promise<Signer | Authenticator> {
  const isOnAuthenticator = key.secret.type === "sk-ecdsa" || key.secret.type === "sk-ed25519";
  if (!isOnAuthenticator) {
    if (provider === undefined) return softwareSigner(key);
    throw new Failure("unsupported", "Only keys on FIDO authenticators have a provider.");
  }
  const isInternal = provider === undefined || provider.toLowerCase() === internalProvider;
  if (isInternal) return new Authenticator(agent.authenticators, key, internalProvider);
  if (connection.bindings.isRemote && !agent.settings.allowRemotePkcs11) {
    throw new Failure("remote-refused", "Forwarded connections may not name a library.");
  }
  const path = await agent.providers.allowedPath(provider);
  return new Authenticator(agent.authenticators, key, path);
}
