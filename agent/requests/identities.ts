/** Request 11: the identities that this connection may see (RFC 9987, section 3.5). */

import { Failure } from "../../protocol/failure.ts";
import { maxFrameLength } from "../../protocol/numbers.ts";
import { blobId } from "../../protocol/public-key.ts";
import type { Identity, Reply } from "../../protocol/replies.ts";
import { encodeText } from "../../protocol/text.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import type { KeyringIdentity } from "../identity.ts";
import { isVisible } from "../policy/destinations.ts";
import type { ClientUpstreams } from "../upstream/upstreams.ts";

/** The number of identities that OpenSSH's clients accept in a list. */
const maxIdentities = 2048;

/** Bytes before the first identity of a list. */
const listHead = 5;

/** Lists the identities: the agent's own, then those of its upstream agents. */
export function requestIdentities(
  agent: Agent,
  connection: ConnectionState,
): Reply | Promise<Reply> {
  agent.renewals.runDue();
  // ssh binds the connection and lists the identities, before it asks the server which it accepts.
  if (connection.bindings.binding.state === "bound") agent.expectSignature();
  if (!connection.upstreams.isEmpty) return listWithUpstreams(agent, connection);
  const identities: Identity[] = [];
  for (const { blob, comment } of visibleIdentities(agent, connection)) {
    identities.push({ keyBlob: blob, comment });
  }
  return { type: "identities", identities };
}

/**
 * A key that this agent has too is listed and limited as its own. A certificate that is attached to
 * an upstream's key is listed while the upstream lists the key.
 */
async function listWithUpstreams(agent: Agent, connection: ConnectionState): Promise<Reply> {
  const listed = await connection.upstreams.list();
  if (!connection.bindings.isRemote) agent.renewals.noteUpstream(listed);
  await agent.certificateFolder?.keysAdded(listed);
  const identities: Identity[] = [];
  for (const { blob, comment, upstream, keyBlob } of visibleIdentities(agent, connection)) {
    const isUsable = upstream === undefined || listed.has(blobId(keyBlob));
    if (isUsable) identities.push({ keyBlob: blob, comment });
  }
  let total = identities.reduce((sum, one) => sum + entryLength(one), listHead);
  for (const one of listed.values()) {
    if (agent.keyring.find(one.keyBlob) !== undefined) continue;
    total += entryLength(one);
    if (identities.length >= maxIdentities || total > maxFrameLength) {
      agent.log("left out identities of upstream agents: the list would be too long");
      break;
    }
    identities.push(one);
  }
  return { type: "identities", identities };
}

/** The length of an identity in a list, in bytes. */
function entryLength({ keyBlob, comment }: Identity): number {
  return 8 + keyBlob.length + encodeText(comment).length;
}

/** The identities that a connection may see. */
export function* visibleIdentities(
  agent: Agent,
  connection: Pick<ConnectionState, "bindings">,
): Generator<KeyringIdentity> {
  for (const identity of agent.keyring.identities()) {
    if (isVisible(identity, connection.bindings, agent.wallClock)) yield identity;
  }
}

/**
 * Refuses identities that would make the list too long for a message, or for OpenSSH's clients,
 * which then could use no key at all. Identities behind another provider's count too.
 * @param isGone whether an identity is replaced by the added ones
 * @throws {Failure} too-large
 */
export function refuseTooMany(
  { keyring }: Agent,
  added: readonly KeyringIdentity[],
  isGone: (identity: KeyringIdentity) => boolean,
): void {
  const sizes = new Map<string, number>();
  const kept = [...keyring.all()].filter((one) => !isGone(one));
  for (const { blob, comment } of [...kept, ...added]) {
    const size = entryLength({ keyBlob: blob, comment });
    const id = blobId(blob);
    sizes.set(id, Math.max(size, sizes.get(id) ?? 0));
  }
  const total = [...sizes.values()].reduce((sum, size) => sum + size, listHead);
  if (sizes.size <= maxIdentities && total <= maxFrameLength) return;
  throw added.every(({ provider }) => provider !== undefined)
    ? new Failure(
        "too-large",
        "With the keys of this library the agent's list would be too long for a reply.",
        "Choose one token or some of its keys with a PKCS#11 URI; see ssh-add(1).",
      )
    : new Failure(
        "too-large",
        "With this identity the agent's list would be too long for a reply.",
        "Remove some identities first; see what there is with: ssh-add -l",
      );
}

/** The failure for a key that nobody has, as far as the upstream agents have listed theirs. */
export function keyNotFound({ missingHint }: ClientUpstreams): Failure {
  return new Failure("key-not-found", "The agent does not hold this key.", missingHint);
}
