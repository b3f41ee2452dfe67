/** `session-bind@openssh.com`: binds this connection to an SSH session. */
import type { Reply } from "../../protocol/replies.ts";
import type { Agent, ConnectionState } from "../agent.ts";

/** Binds the connection, once the host key's signature over the session is verified. */
export function sessionBind(agent: Agent, connection: ConnectionState, body: Buffer): Reply {
  try {
    const { isForwarding } = connection.bindings.bind(body, agent.wallClock());
    agent.log(`bound to a session${isForwarding ? ", forwarded" : ""}`);
    return { type: "success" };
  } finally {
    connection.upstreams.bind(body);
  }
}
