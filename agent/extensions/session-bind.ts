/** `session-bind@openssh.com`: which session this connection is for. */
import { decodeSessionBind } from "../../protocol/extensions/session-bind.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Agent, ConnectionState } from "../agent.ts";

/** Binds the connection, once the host key's signature over the session is verified. */
export function sessionBind(agent: Agent, connection: ConnectionState, body: Buffer): Reply {
  const bind = decodeSessionBind(body);
  connection.bindings.bind(bind);
  agent.log(`bound to a session${bind.isForwarding ? ", forwarded" : ""}`);
  return { type: "success" };
}
