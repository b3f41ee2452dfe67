/** `agent-path@cardagent.alt`: the agents that the client's connection has passed. */
import { decodeAgentPath } from "../../protocol/extensions/agent-path.ts";
import { Failure } from "../../protocol/failure.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Agent, ConnectionState } from "../agent.ts";

/**
 * Notes the path, for the upstream agents. @throws {Failure} unsupported, if this agent is on it: it
 * would ask itself without end
 */
export function agentPath(agent: Agent, connection: ConnectionState, body: Buffer): Reply {
  const path = decodeAgentPath(body);
  if (path.some((id) => id.equals(agent.upstreams.id))) {
    throw new Failure(
      "unsupported",
      "This agent is one of its own upstreams.",
      "Start ssh-agent with another socket in -O upstream.",
    );
  }
  connection.upstreams.follow(path);
  return { type: "success" };
}
