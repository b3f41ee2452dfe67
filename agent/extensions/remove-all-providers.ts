/** `remove-all-providers@cardagent.alt`: unloads every provider, and keeps the keys in memory. */
import type { Reply } from "../../protocol/replies.ts";
import { Reader } from "../../protocol/wire.ts";
import type { Agent, ConnectionState } from "../agent.ts";

/** Unloads all providers, and with them their keys and certificates. */
export async function removeAllProviders(
  agent: Agent,
  _connection: ConnectionState,
  body: Buffer,
): Promise<Reply> {
  new Reader(body).end();
  for (const { path } of agent.providers.list()) agent.keyring.removeProvider(path);
  await agent.providers.removeAll();
  agent.log("removed all providers");
  return { type: "success" };
}
