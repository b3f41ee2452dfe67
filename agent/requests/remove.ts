/** Requests 18 and 19: remove identities (RFC 9987, section 3.4). */
import { Failure } from "../../protocol/failure.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { RequestOf } from "../../protocol/requests.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import type { KeyringIdentity } from "../identity.ts";
import { isVisible } from "../policy/destinations.ts";

/** Removes one identity. One that this connection may not see is reported as missing. */
export function removeIdentity(
  agent: Agent,
  connection: ConnectionState,
  request: RequestOf<"remove-identity">,
): Reply {
  const known = agent.keyring.findAll(request.keyBlob);
  const isSeen = (one: KeyringIdentity) => isVisible(one, connection.bindings, agent.wallClock);
  if (known.length === 0 || !known.every(isSeen)) {
    throw new Failure("key-not-found", "The agent does not hold this key.");
  }
  agent.keyring.remove(request.keyBlob);
  return { type: "success" };
}

/**
 * Removes all identities and unloads all providers. If this connection may not see some of the
 * identities, only the visible ones are removed.
 */
export async function removeAllIdentities(
  agent: Agent,
  connection: ConnectionState,
): Promise<Reply> {
  const identities = [...agent.keyring.identities()];
  const isSeen = (one: KeyringIdentity) => isVisible(one, connection.bindings, agent.wallClock);
  const visible = identities.filter(({ blob }) => agent.keyring.findAll(blob).every(isSeen));
  if (visible.length === identities.length) {
    await agent.removeEverything();
    agent.log("removed all identities and providers");
  } else {
    for (const { blob } of visible) agent.keyring.remove(blob);
    agent.log(`removed ${visible.length} of ${identities.length} identities`);
  }
  return { type: "success" };
}
