/** `prepare-provider@cardagent.alt`: a provider is about to be added on this connection. */
import type { Reply } from "../../protocol/replies.ts";
import { Reader } from "../../protocol/wire.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { refuseRemote } from "../requests/smartcard.ts";

/**
 * Starts the process that will load the provider, and the library in it, while its PIN is asked for.
 * The process ends with the connection if the provider is not added. One is prepared at a time.
 */
export async function prepareProvider(
  agent: Agent,
  connection: ConnectionState,
  body: Buffer,
): Promise<Reply> {
  const reader = new Reader(body);
  const requested = reader.cString();
  reader.end();
  refuseRemote(agent, connection);
  if (connection.prepared?.child.running !== true) {
    connection.prepared = await agent.providers.prepare(requested);
    if (connection.isClosed) agent.providers.abandon(connection.prepared);
  }
  return { type: "success" };
}
