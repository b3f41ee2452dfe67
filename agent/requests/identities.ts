/** Request 11: the identities that this connection may see (RFC 9987, section 3.5). */
import type { Identity, Reply } from "../../protocol/replies.ts";
import type { Agent, ConnectionState } from "../agent.ts";

import type { KeyringIdentity } from "../keyring.ts";
import { isVisible } from "../policy/destinations.ts";

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
