/** Request 11: the identities that this connection may see (RFC 9987, section 3.5). */
import type { Identity, Reply } from "../../protocol/replies.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { isPermitted } from "../policy/destinations.ts";

/** Lists the identities. */
export function requestIdentities(agent: Agent, connection: ConnectionState): Reply {
  const { sessions } = connection.bindings;
  const identities: Identity[] = [];
  for (const { blob, comment, limits } of agent.keyring.identities()) {
    if (isPermitted(limits.destinations, sessions, undefined, agent.wallClock)) {
      identities.push({ keyBlob: blob, comment });
    }
  }
  return { type: "identities", identities };
}
