/** Requests 20, 26 and 21: the keys of a PKCS#11 provider come and go (RFC 9987, section 3.2.6). */
import { type Identified, identify, verifyCertificate } from "../../protocol/certificate.ts";
import { Failure, malformed } from "../../protocol/failure.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Request } from "../../protocol/requests.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import type { KeyringIdentity, Limits } from "../keyring.ts";
import type { Signer } from "../keys/software-key.ts";
import type { Provider } from "../pkcs11/provider.ts";
import { type Constraints, limitsOf } from "./limits.ts";

/** Loads a provider and adds its keys, each with the certificates that came for it. */
export async function addSmartcardKey(
  agent: Agent,
  connection: ConnectionState,
  request: Extract<Request, { type: "add-smartcard-key" }>,
): Promise<Reply> {
  refuseRemote(agent, connection);
  const constraints = limitsOf(agent, request.constraints, "card");
  const certificates = readCertificates(constraints);
  const provider = await agent.providers.add(request.provider, request.pin);
  const earlier = agent.keyring.removeProvider(provider.path);
  const added = identitiesOf(agent, provider, constraints, certificates);
  const kept = keptCertificates(earlier, added, provider);
  for (const identity of [...kept, ...added]) agent.keyring.add(identity);
  agent.log(`added ${added.length} identities of ${provider.path}`);
  if (kept.length + added.length > 0) return { type: "success" };
  await agent.providers.remove(provider.path);
  throw nothingAdded(constraints);
}

/** Unloads a provider, and with it its keys and their certificates. */
export async function removeSmartcardKey(
  agent: Agent,
  _connection: ConnectionState,
  request: Extract<Request, { type: "remove-smartcard-key" }>,
): Promise<Reply> {
  const { path } = await agent.providers.remove(request.provider);
  agent.keyring.removeProvider(path);
  agent.log(`removed ${path}`);
  return { type: "success" };
}

/** Refuses what only this machine's own programs may do (see `SessionBindings.isRemote`). */
export function refuseRemote(agent: Agent, connection: ConnectionState): void {
  if (connection.bindings.isRemote && !agent.settings.allowRemotePkcs11) {
    throw new Failure("remote-refused", "PKCS#11 providers are not for forwarded connections.");
  }
}

interface CertificateFor extends Identified {
  readonly blob: Buffer;
}

function readCertificates({ associatedCerts }: Constraints): CertificateFor[] {
  return (associatedCerts?.certificates ?? []).map((blob) => {
    const identified = identify(blob);
    if (identified?.certificate === undefined) throw malformed("A certificate is not one.");
    if (!verifyCertificate(blob)) {
      throw malformed("A certificate is not signed by the key of its authority.");
    }
    return { ...identified, blob };
  });
}

/**
 * The identities that a provider brings: for each key its certificates, then the key itself. A key
 * that the agent holds from elsewhere stays as it is. A certificate that fits no key of this
 * provider is for another card and passed over, and one whose time is over is of no use.
 */
function identitiesOf(
  agent: Agent,
  provider: Provider,
  { limits, associatedCerts }: Constraints,
  certificates: readonly CertificateFor[],
): KeyringIdentity[] {
  const now = agent.wallClock();
  return provider.keys.flatMap(({ keyBlob, comment }) => {
    const signer = cardSigner(agent, provider.path, keyBlob);
    const make = (blob: Buffer, identified: Identified): KeyringIdentity =>
      cardIdentity(blob, identified, comment, signer, limits, provider.path);
    const identities: KeyringIdentity[] = [];
    for (const { blob, ...identified } of certificates) {
      const isCurrent = (identified.certificate?.validBefore ?? 0n) > now;
      if (isCurrent && identified.keyBlob.equals(keyBlob)) identities.push(make(blob, identified));
    }
    const plain = identify(keyBlob);
    const isWanted = associatedCerts?.certsOnly !== true && !agent.keyring.find(keyBlob);
    if (plain !== undefined && isWanted) identities.push(make(keyBlob, plain));
    return identities;
  });
}

function cardIdentity(
  blob: Buffer,
  identified: Identified,
  comment: string,
  signer: Signer,
  limits: Limits,
  provider: string,
): KeyringIdentity {
  return { ...identified, blob, comment, signer, limits, provider };
}

/** Signs by whatever loaded the provider's path last, so that loading it again changes nothing. */
function cardSigner(agent: Agent, path: string, keyBlob: Buffer): Signer {
  return {
    sign(algorithm, data) {
      const provider = agent.providers.get(path);
      if (provider === undefined) throw new Failure("not-loaded", `${path} is not loaded.`);
      return provider.sign(keyBlob, algorithm, data);
    },
  };
}

/** Certificates that were attached to this provider's keys stay when it is loaded again. */
function keptCertificates(
  earlier: readonly KeyringIdentity[],
  added: readonly KeyringIdentity[],
  provider: Provider,
): KeyringIdentity[] {
  return earlier.filter(
    (identity) =>
      identity.certificate !== undefined &&
      provider.keys.some(({ keyBlob }) => keyBlob.equals(identity.keyBlob)) &&
      !added.some(({ blob }) => blob.equals(identity.blob)),
  );
}

function nothingAdded({ associatedCerts }: Constraints): Failure {
  if (associatedCerts?.certsOnly === true) {
    return new Failure(
      "no-matching-key",
      "No key of this card is certified by a certificate that is given and current.",
      "Give a certificate for a key of this card, or leave out -C.",
    );
  }
  return new Failure(
    "no-usable-key",
    "The agent holds all keys of this card already, from elsewhere.",
    "Remove them first, with: ssh-add -d, or the library that shows them, with: ssh-add -e",
  );
}
