/** Requests 18 and 19: remove identities (RFC 9987, section 3.4). */
import type { Reply } from "../../protocol/replies.ts";
import type { RequestOf } from "../../protocol/requests.ts";
import type { Agent, ConnectionState } from "../agent.ts";
import type { KeyringIdentity } from "../identity.ts";
import { isVisible } from "../policy/destinations.ts";
import { keyNotFound } from "./identities.ts";

/**
 * Removes one identity, here and from each upstream agent. One that this connection may not see is
 * reported as missing.
 */
export function removeIdentity(
  agent: Agent,
  connection: ConnectionState,
  request: RequestOf<"remove-identity">,
): Reply | Promise<Reply> {
  const blob = Buffer.from(request.keyBlob);
  const known = agent.keyring.findAll(blob);
  const isSeen = (one: KeyringIdentity) => isVisible(one, connection.bindings, agent.wallClock);
  const { upstreams } = connection;
  if (!known.every(isSeen)) throw keyNotFound(upstreams);
  if (known.length === 0 && upstreams.isEmpty) throw keyNotFound(upstreams);
  agent.keyring.remove(blob);
  agent.renewals.forget(blob);
  if (upstreams.isEmpty) return { type: "success" };
  return removeUpstream(agent, connection, blob).then((wasUpstream) => {
    if (known.length === 0 && !wasUpstream) throw keyNotFound(upstreams);
    return { type: "success" };
  });
}

/**
 * Removes an identity from the upstream agents, and the certificates that were attached to it here if
 * none has it any more.
 * @returns whether one had it
 */
async function removeUpstream(
  { keyring }: Agent,
  { upstreams }: ConnectionState,
  blob: Buffer,
): Promise<boolean> {
  const wasUpstream = await upstreams.remove(blob);
  if (!wasUpstream || (await upstreams.find([blob])) !== undefined) return wasUpstream;
  for (const one of keyring.withPrivateKey(blob)) {
    if (one.upstream !== undefined) keyring.remove(one.blob);
  }
  return wasUpstream;
}

/**
 * Removes all identities, here and from each upstream agent, and unloads all providers. If this
 * connection may not see some of the identities, only the visible ones are removed.
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
  await connection.upstreams.removeAll();
  return { type: "success" };
}
