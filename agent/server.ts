/** Accepts connections: only the agent's own user and root are served. */
import { createServer, type Server, type Socket } from "node:net";
import type { Agent } from "./agent.ts";
import { serveConnection } from "./connection.ts";
import { descriptorOf } from "./host/descriptor.ts";
import type { Libc, PeerCredentials } from "./host/libc.ts";

/**
 * Makes a server for an agent. It is not listening yet.
 * @param libc what tells the peer's user
 * @param ownUid the user that is served, beside root
 */
export function createAgentServer(agent: Agent, libc: Libc, ownUid: number): Server {
  // The mark has every reply that could not be sent at once end with a "drain".
  return createServer({ allowHalfOpen: true, highWaterMark: 1 }, (socket) => {
    const peer = identifyPeer(socket, libc);
    if (peer === undefined || (peer.uid !== ownUid && peer.uid !== 0)) {
      agent.log(`refused a connection of user ${peer?.uid ?? "unknown"}`);
      socket.destroy();
      return;
    }
    serveConnection(agent, socket, peer);
  });
}

/** Who connected; undefined when the system does not tell, as for a client that is gone already. */
function identifyPeer(socket: Socket, libc: Libc): PeerCredentials | undefined {
  try {
    return libc.peerCredentials(descriptorOf(socket));
  } catch {
    return undefined;
  }
}
