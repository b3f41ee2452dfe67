/**
 * `agent-path@cardagent.alt`: the agents that this connection has passed, so that an agent notices when
 * it is its own upstream.
 */
import { malformed } from "../failure.ts";
import { readStrings, Writer } from "../wire.ts";

/** The length of an agent's identifier: random bytes that it chooses when it starts. */
export const agentIdLength = 16;

/** The longest path that an agent accepts. */
const maxAgents = 16;

/** Encodes the body of the request: a `string` for each agent, the nearest to the client first. */
export function encodeAgentPath(path: readonly Buffer[]): Buffer {
  const writer = new Writer();
  for (const id of path) writer.string(id);
  return writer.finish();
}

/** Decodes the body of the request. @throws {Failure} malformed */
export function decodeAgentPath(body: Uint8Array): Buffer[] {
  const path = readStrings(body);
  if (path.length > maxAgents) throw malformed("Too many agents behind one another.");
  if (path.every(({ length }) => length === agentIdLength)) return path;
  throw malformed("Invalid length of an agent's identifier.");
}
