/** `prepare-provider@cardagent.alt`: prepares for a provider that is about to be added. */
import { decodePrepareProvider } from "../../protocol/extensions/prepare-provider.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { refuseRemote } from "../requests/smartcard.ts";

/**
 * Starts the provider's process and loads the library in it, while the client asks for the PIN. The
 * process ends with the connection if the provider is not added. One is prepared at a time.
 */
export async function prepareProvider(
  agent: Agent,
  connection: ConnectionState,
  body: Buffer,
): Promise<Reply> {
  const { provider, environment } = decodePrepareProvider(body);
  refuseRemote(agent, connection);
  if (connection.prepared?.child.running !== true) {
    connection.prepared = await agent.providers.prepare(provider, environment);
    if (connection.isClosed) agent.providers.abandon(connection.prepared);
  }
  return { type: "success" };
}
