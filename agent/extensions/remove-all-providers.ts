/** `remove-all-providers@cardagent.alt`: unloads every provider, and keeps the keys in memory. */
import type { Reply } from "../../protocol/replies.ts";
import { Reader } from "../../protocol/wire.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import { refuseHidden } from "../policy/destinations.ts";

/** Unloads all providers, and with them their keys and certificates. */
export async function removeAllProviders(
  agent: Agent,
  connection: ConnectionState,
  body: Buffer,
): Promise<Reply> {
  new Reader(body).end();
  const paths = agent.providers.list().map(({ path }) => path);
  const identities = paths.flatMap((path) => agent.keyring.heldOf(path));
  refuseHidden(identities, connection.bindings, agent.wallClock);
  for (const path of paths) agent.keyring.removeProvider(path);
  agent.prompts.recheck();
  await agent.providers.removeAll();
  agent.log("removed all providers");
  await connection.upstreams.gather((upstream) =>
    upstream.requestOnceListed((client) => client.removeAllProviders()),
  );
  return { type: "success" };
}
