/** Request 11: the identities that this connection may see (RFC 9987, section 3.5). */

import { Failure } from "../../protocol/failure.ts";
import { maxFrameLength } from "../../protocol/numbers.ts";
import { blobId } from "../../protocol/public-key.ts";
import type { Identity, Reply } from "../../protocol/replies.ts";
import { encodeText } from "../../protocol/text.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import type { KeyringIdentity } from "../identity.ts";
import { isVisible } from "../policy/destinations.ts";

/** The number of identities that OpenSSH's clients accept in a list. */
const maxIdentities = 2048;

/** Bytes before the first identity of a list. */
const listHead = 5;

/** Lists the identities. */
export function requestIdentities(agent: Agent, connection: ConnectionState): Reply {
  const identities: Identity[] = [];
  for (const { blob, comment } of visibleIdentities(agent, connection)) {
    identities.push({ keyBlob: blob, comment });
  }
  return { type: "identities", identities };
}

/** The identities that a connection may see. */
export function* visibleIdentities(
  agent: Agent,
  connection: ConnectionState,
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
    const size = 8 + blob.length + encodeText(comment).length;
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
