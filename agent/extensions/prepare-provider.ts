/** `prepare-provider@cardagent.alt`: a provider is about to be added on this connection. */
import type { Reply } from "../../protocol/replies.ts";
import { Reader } from "../../protocol/wire.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { refuseRemote } from "../requests/smartcard.ts";

/**
 * Starts the process that will load the provider, while its PIN is asked for. The process loads
 * nothing before it is told what; it ends with the connection if it is not.
 */
export function prepareProvider(agent: Agent, connection: ConnectionState, body: Buffer): Reply {
  new Reader(body).end();
  refuseRemote(agent, connection);
  if (connection.prepared?.running !== true) connection.prepared = agent.providers.prepare();
  return { type: "success" };
}
