/**
 * Requests 20, 26 and 21: add and remove the keys of a PKCS#11 provider (RFC 9987, section 3.2.6).
 */

import { asFailure, Failure, invalidCertificate } from "../../protocol/failure.ts";
import { blobId } from "../../protocol/public-key.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { RequestOf } from "../../protocol/requests.ts";
import { type VerifiedKey, verifyKeyOrCertificate } from "../../protocol/verification.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { type KeyringIdentity, type Limits, makeIdentity } from "../identity.ts";
import { CardSigner } from "../pkcs11/card-signer.ts";
import type { CardKey, Provider } from "../pkcs11/provider.ts";
import { refuseHidden } from "../policy/destinations.ts";
import { supersedes } from "../policy/renewal.ts";
import { refuseTooMany } from "./identities.ts";
import { type Constraints, intersectLimits, limitsOf, sooner } from "./limits.ts";

/** Loads a provider and adds its keys, each with its certificates from the request. */
export async function addSmartcardKey(
  agent: Agent,
  connection: ConnectionState,
  request: RequestOf<"add-smartcard-key">,
): Promise<Reply> {
  refuseRemote(agent, connection);
  const constraints = limitsOf(agent, request.constraints, "card");
  const certificates = readCertificates(constraints);
  const takePrepared = (library: string) => {
    const { prepared } = connection;
    if (prepared?.library !== library) return undefined;
    connection.prepared = undefined;
    return prepared.child;
  };
  const keys = new Set<string>();
  const adopt = (provider: Provider) => {
    agent.lock.throwIfLocked();
    const { isRemote } = connection.bindings;
    const added = identitiesOf(agent, provider, constraints, certificates, isRemote);
    if (added.length === 0) throw noneCertified();
    const earlier = agent.keyring.ofProvider(provider.path);
    const held = agent.keyring.heldOf(provider.path);
    refuseHidden(held, connection.bindings, agent.wallClock);
    const kept = keptCertificates(agent, earlier, added, provider, constraints.limits);
    const identities = [...kept, ...added];
    refuseTooMany(agent, identities, (one) => one.provider === provider.path);
    agent.keyring.exchangeProvider(provider.path, identities);
    provider.onMissing = (keys) => removeMissing(agent, provider, keys);
    for (const { keyBlob } of added) keys.add(blobId(keyBlob));
    agent.log(`added ${added.length} identities of ${provider.path}`);
  };
  const { only } = constraints;
  await agent.providers.add(request.provider, request.pin, { only, takePrepared, adopt });
  await agent.certificateFolder?.keysAdded(keys);
  return { type: "success" };
}

/** Removes keys that turned out to have no private key. */
function removeMissing(agent: Agent, provider: Provider, keys: readonly CardKey[]): void {
  const { path } = provider;
  if (agent.providers.get(path) !== provider) return;
  agent.keyring.removeProvider(path, new Set(keys.map(({ keyBlob }) => blobId(keyBlob))));
  agent.prompts.recheck();
  agent.log(`removed ${keys.length} keys of ${path} that have no private key`);
  if (!agent.keyring.hasKeyOf(path)) void agent.providers.unload(provider);
}

/** Unloads what the request names: a library, or the keys that a PKCS#11 URI matches. */
export async function removeSmartcardKey(
  agent: Agent,
  connection: ConnectionState,
  request: RequestOf<"remove-smartcard-key">,
): Promise<Reply> {
  const matches = await agent.providers.match(request.provider).catch((error: unknown) => {
    if (connection.upstreams.isEmpty || asFailure(error).code !== "not-loaded") throw error;
    return undefined;
  });
  if (matches === undefined) return removeUpstream(connection, request.provider);
  for (const { provider } of matches) {
    const held = agent.keyring.heldOf(provider.path);
    refuseHidden(held, connection.bindings, agent.wallClock);
  }
  // Do not await in the loop: other requests could load and unload providers meanwhile.
  const unloaded: Promise<void>[] = [];
  for (const { provider, keys } of matches) {
    const { path } = provider;
    agent.keyring.removeProvider(path, keys && new Set(keys.map(({ keyBlob }) => blobId(keyBlob))));
    agent.prompts.recheck();
    agent.log(keys === undefined ? `removed ${path}` : `removed ${keys.length} keys of ${path}`);
    const current = agent.providers.get(path);
    if (keys !== undefined) current?.forgetPins();
    if (current !== undefined && !agent.keyring.hasKeyOf(path)) {
      unloaded.push(agent.providers.unload(current));
    }
  }
  await Promise.all(unloaded);
  return { type: "success" };
}

/** Unloads a provider of upstream agents. @throws {Failure} not-loaded, if none has it */
async function removeUpstream(connection: ConnectionState, provider: string): Promise<Reply> {
  const removed = await connection.upstreams.gather((upstream) =>
    upstream.requestOnceListed((client) => client.removeSmartcardKey(provider)),
  );
  if (removed.length > 0) return { type: "success" };
  throw new Failure("not-loaded", `The provider ${provider} is not loaded.`);
}

/** Refuses a forwarded connection (see `SessionBindings.isRemote`), unless it is allowed. */
export function refuseRemote(
  agent: Agent,
  connection: ConnectionState,
  what = "use PKCS#11 providers",
): void {
  if (connection.bindings.isRemote && !agent.settings.allowRemotePkcs11) {
    throw new Failure("remote-refused", `Forwarded connections may not ${what}.`);
  }
}

interface CertificateFor extends VerifiedKey {
  readonly blob: Buffer;
}

function readCertificates({ associatedCerts }: Constraints): CertificateFor[] {
  return (associatedCerts?.certificates ?? []).map((blob) => {
    const verified = verifyKeyOrCertificate(blob);
    if (verified.certificate !== undefined) return { ...verified, blob };
    throw invalidCertificate("What was sent for a card is not a certificate.");
  });
}

/**
 * The identities of a provider: for each key its certificates, then the key itself. Expired
 * certificates are ignored, and so are those of other cards' keys.
 */
function identitiesOf(
  agent: Agent,
  provider: Provider,
  { limits, associatedCerts, keepEnded }: Constraints,
  certificates: readonly CertificateFor[],
  isRemote: boolean,
): KeyringIdentity[] {
  const now = agent.wallClock();
  const { path } = provider;
  return provider.keys.flatMap(({ keyBlob, comment }) => {
    const plain = readCardKey(agent, keyBlob);
    if (plain === undefined) return [];
    const signer = new CardSigner(agent.providers, plain.key, keyBlob, path);
    const details = { comment, signer, limits, isRemote, keepEnded, provider: path };
    const isCurrent = ({ certificate }: VerifiedKey) => (certificate?.validBefore ?? 0n) > now;
    const certified = certificates.filter((one) => isCurrent(one) && one.keyBlob.equals(keyBlob));
    const chosen = associatedCerts?.certsOnly === true ? [] : [{ ...plain, blob: keyBlob }];
    return [...certified, ...chosen].map(({ blob, ...verified }) =>
      makeIdentity(verified, blob, details, agent.settings.certificateGrace),
    );
  });
}

/** A key of a library; undefined if it is invalid. */
function readCardKey(agent: Agent, keyBlob: Buffer): VerifiedKey | undefined {
  try {
    return verifyKeyOrCertificate(keyBlob);
  } catch (error) {
    agent.log(`left out a key of a card: ${asFailure(error).message}`);
    return undefined;
  }
}

/**
 * The certificates of this provider's keys that stay when it is reloaded, within their own limits
 * and the new ones. One that a new certificate supersedes is removed, and so is one without a
 * remaining destination.
 */
function keptCertificates(
  agent: Agent,
  earlier: readonly KeyringIdentity[],
  added: readonly KeyringIdentity[],
  provider: Provider,
  limits: Limits,
): KeyringIdentity[] {
  const now = agent.wallClock();
  return earlier
    .filter(
      (identity) =>
        identity.certificate !== undefined &&
        provider.keys.some(({ keyBlob }) => keyBlob.equals(identity.keyBlob)) &&
        !added.some((one) => one.blob.equals(identity.blob) || supersedes(one, identity, now)),
    )
    .flatMap((identity) => {
      try {
        const keyExpires = sooner(identity.keyExpires, limits.expires);
        return [{ ...identity, limits: intersectLimits(identity.limits, limits), keyExpires }];
      } catch {
        return [];
      }
    });
}

function noneCertified(): Failure {
  return new Failure(
    "no-matching-key",
    "None of the given certificates is valid now and certifies a key of this token.",
    "Give a certificate for a key of this token, or leave out -C.",
  );
}
