/** `agent-path@cardagent.alt`: the agents that the client's connection has passed. */
import { decodeAgentPath } from "../../protocol/extensions/agent-path.ts";
import { Failure } from "../../protocol/failure.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Agent, ConnectionState } from "../agent.ts";

/**
 * Notes the path, for the upstream agents. A connection whose path is refused has none from then on:
 * its next request is on its way already.
 * @throws {Failure} unsupported, if this agent is on it: it would ask itself without end; malformed
 */
export function agentPath(agent: Agent, connection: ConnectionState, body: Buffer): Reply {
  try {
    const path = decodeAgentPath(body);
    if (path.some((id) => id.equals(agent.upstreams.id))) throw isOwnUpstream();
    connection.upstreams.follow(path);
    return { type: "success" };
  } catch (error) {
    connection.upstreams.leave();
    throw error;
  }
}

function isOwnUpstream(): Failure {
  return new Failure(
    "unsupported",
    "This agent is one of its own upstreams.",
    "Start ssh-agent with another socket in -O upstream.",
  );
}
