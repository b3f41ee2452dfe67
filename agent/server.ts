/**
 * Accepts connections: only the agent's own user and root are served.
 *
 * When descriptors run out, Node.js accepts whoever connects and closes the connection. So before that
 * the agent stops accepting: its server is closed, the socket stays open by another descriptor, and
 * clients wait in the socket's queue until others have gone.
 */
import { createServer, type Server, type Socket } from "node:net";
import type { Agent } from "./agent.ts";
import { serveConnection } from "./connection.ts";
import { descriptorOf } from "./host/descriptor.ts";
import type { Libc, PeerCredentials } from "./host/libc.ts";
import { backlog, listenAtFirst, type SocketPlace } from "./host/socket-path.ts";

/** Descriptors that are kept for cards, askpass programs and files, out of many and out of few. */
const reserveOfMany = 64;
const reserveOfFew = 1 / 8;

/** Milliseconds until accepting is tried again when it could not be resumed. */
const retryInterval = 1000;

/** The agent's socket, and who is let in by it. */
export class AgentServer {
  readonly #agent: Agent;
  readonly #libc: Libc;
  readonly #ownUid: number;
  /** The first descriptor of those that are kept. */
  readonly #firstReserved: number;
  /** The listening server; undefined while nobody is accepted. */
  #server: Server | undefined;
  /** The socket, also while there is no server. */
  #descriptor = -1;

  /**
   * @param libc what tells the peer's user
   * @param ownUid the user that is served, beside root
   */
  constructor(agent: Agent, libc: Libc, ownUid: number) {
    this.#agent = agent;
    this.#libc = libc;
    this.#ownUid = ownUid;
    const limit = libc.fileLimit();
    this.#firstReserved = limit - Math.min(reserveOfMany, Math.ceil(limit * reserveOfFew));
  }

  /** Listens at the first of some places that can be listened at; see there. */
  async listenAtFirst(
    places: readonly (() => SocketPlace)[],
    trying: (place: SocketPlace) => void,
  ): Promise<SocketPlace> {
    const server = this.#makeServer();
    const place = await listenAtFirst(server, places, trying);
    this.#use(server);
    return place;
  }

  /** Listens at a socket that somebody else has opened. */
  async listenAt(descriptor: number): Promise<void> {
    const server = this.#makeServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd: descriptor, backlog }, resolve);
    });
    this.#use(server);
  }

  /** Accepts nobody any more; connections stay. */
  close(): void {
    this.#server?.close();
    this.#descriptor = -1;
  }

  #makeServer(): Server {
    return createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
  }

  #use(server: Server): void {
    this.#descriptor = this.#libc.duplicate(descriptorOf(server));
    this.#server = server;
  }

  #accept(socket: Socket): void {
    const peer = identifyPeer(socket, this.#libc);
    if (peer === undefined || (peer.uid !== this.#ownUid && peer.uid !== 0)) {
      this.#agent.log(`refused a connection of user ${peer?.uid ?? "unknown"}`);
      socket.destroy();
      return;
    }
    serveConnection(this.#agent, socket, peer);
    socket.once("close", () => this.#resume());
    // The system gives the lowest number that is free, so all below it are taken.
    if (descriptorOf(socket) >= this.#firstReserved) this.#pause();
  }

  #pause(): void {
    if (this.#server === undefined) return;
    this.#agent.log("too many open files: new connections wait");
    this.#server.close();
    this.#server = undefined;
  }

  #resume(): void {
    if (this.#server !== undefined || this.#descriptor < 0) return;
    const retry = (error: unknown) => {
      this.#agent.log(`connections still wait: ${error instanceof Error ? error.message : "?"}`);
      this.#server = undefined;
      setTimeout(() => this.#resume(), retryInterval);
    };
    try {
      this.#server = this.#makeServer().once("error", retry);
      this.#server.listen({ fd: this.#libc.duplicate(this.#descriptor), backlog });
    } catch (error) {
      retry(error);
    }
  }
}

/** Who connected; undefined when the system does not tell, as for a client that is gone already. */
function identifyPeer(socket: Socket, libc: Libc): PeerCredentials | undefined {
  try {
    return libc.peerCredentials(descriptorOf(socket));
  } catch {
    return undefined;
  }
}
