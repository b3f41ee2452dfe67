/** Requests 18 and 19: identities go (RFC 9987, section 3.4). */
import { Failure } from "../../protocol/failure.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Request } from "../../protocol/requests.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { isPermitted } from "../policy/destinations.ts";

/** Removes one identity. One that this connection may not see is not there for it. */
export function removeIdentity(
  agent: Agent,
  connection: ConnectionState,
  request: Extract<Request, { type: "remove-identity" }>,
): Reply {
  const identity = agent.keyring.find(request.keyBlob);
  const { sessions } = connection.bindings;
  const isVisible =
    identity !== undefined &&
    isPermitted(identity.limits.destinations, sessions, undefined, agent.wallClock);
  if (!isVisible) throw new Failure("key-not-found", "The agent does not hold this key.");
  agent.keyring.remove(request.keyBlob);
  return { type: "success" };
}

/** Removes all identities, and unloads all providers with them. */
export async function removeAllIdentities(agent: Agent): Promise<Reply> {
  await agent.removeEverything();
  agent.log("removed all identities and providers");
  return { type: "success" };
}
