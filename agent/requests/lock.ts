/** Requests 22 and 23: lock and unlock (RFC 9987, section 3.7). */
import type { Reply } from "../../protocol/replies.ts";
import type { RequestOf } from "../../protocol/requests.ts";
import type { Agent, ConnectionState } from "../agent.ts";

/** Locks the agent, forgets the PINs of its tokens and shields all keys. */
export async function lock(
  agent: Agent,
  _connection: ConnectionState,
  request: RequestOf<"lock">,
): Promise<Reply> {
  await agent.lock.lock(request.passphrase);
  agent.softwareKeys.openKeys.shieldAll();
  agent.providers.forgetPins();
  agent.prompts.recheck();
  agent.log("locked");
  return { type: "success" };
}

/** Unlocks the agent. */
export async function unlock(
  agent: Agent,
  connection: ConnectionState,
  request: RequestOf<"unlock">,
): Promise<Reply> {
  await agent.lock.unlock(request.passphrase, connection);
  agent.log("unlocked");
  void agent.certificateFolder?.read();
  agent.renewals.catchUp();
  return { type: "success" };
}
