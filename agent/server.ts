/**
 * Accepts connections from the agent's own user and from root.
 *
 * When descriptors run out, Node.js accepts new connections and closes them at once. So the agent stops
 * accepting before that: it closes the server but keeps the listening socket open by a duplicate
 * descriptor, and clients wait in the socket's backlog until other connections close.
 */
import { closeSync } from "node:fs";
import { createServer, type Server, type Socket } from "node:net";
import type { Agent } from "./agent.ts";
import { serveConnection } from "./connection.ts";
import { descriptorOf } from "./host/descriptor.ts";
import type { PeerCredentials } from "./host/kernel.ts";
import type { Libc } from "./host/libc.ts";
import { backlog, listenAtFirst, type SocketPaths } from "./host/socket-path.ts";

/** Descriptors reserved for cards, askpass programs and files: a share of the limit, at most a number. */
const reservedShare = 1 / 8;
const maxReserved = 64;

/** Milliseconds until the agent tries again to accept, after a failure. */
const retryInterval = 1000;

/** The server on the agent's socket. */
export class AgentServer {
  readonly #agent: Agent;
  readonly #libc: Libc;
  readonly #ownUid: number;
  /** Accepting stops when a connection gets this descriptor or a higher one. */
  readonly #firstReserved: number;
  /** The listening server; undefined while accepting is paused. */
  #server: Server | undefined;
  /** A duplicate of the listening socket's descriptor, above the agent's own files; -1 when closed. */
  #descriptor = -1;
  #clients = 0;
  #hasPaused = false;

  /** @param ownUid the user that is served, beside root */
  constructor(agent: Agent, libc: Libc, ownUid: number) {
    this.#agent = agent;
    this.#libc = libc;
    this.#ownUid = ownUid;
    const limit = libc.fileLimit();
    this.#firstReserved = limit - Math.min(maxReserved, Math.ceil(limit * reservedShare));
  }

  /** See `listenAtFirst` in host/socket-path.ts. */
  async listenAtFirst(
    candidates: readonly (() => SocketPaths)[],
    onTry: (paths: SocketPaths) => void,
  ): Promise<SocketPaths> {
    const server = this.#makeServer();
    const paths = await listenAtFirst(server, candidates, onTry);
    this.#use(server);
    return paths;
  }

  /** Listens at a socket that another program has opened. */
  async listenAt(descriptor: number): Promise<void> {
    const server = this.#makeServer();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ fd: descriptor, backlog }, resolve);
    });
    this.#use(server);
  }

  /** Stops accepting; open connections stay. */
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
    this.#clients++;
    socket.once("close", () => {
      this.#clients--;
      this.#resume();
    });
    // The system assigns the lowest free descriptor, so all lower ones are in use.
    if (descriptorOf(socket) >= this.#firstReserved || !this.#hasRoom()) this.#pause();
  }

  /**
   * Whether another client would leave the reserve alone, with its connections to upstream agents, which
   * are opened later. The lowest free descriptor is looked for only once the agent has paused: those that
   * were freed may be lower than those in use.
   */
  #hasRoom(): boolean {
    const perClient = 1 + this.#agent.upstreams.count;
    if ((this.#clients + 1) * perClient > this.#firstReserved - this.#descriptor) return false;
    if (!this.#hasPaused) return true;
    try {
      const lowest = this.#libc.duplicate(this.#descriptor);
      closeSync(lowest);
      return lowest < this.#firstReserved;
    } catch {
      return false;
    }
  }

  #pause(): void {
    if (this.#server === undefined) return;
    this.#agent.log("too many open files: new connections wait");
    this.#hasPaused = true;
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

/** The peer's credentials; undefined if the system has none, for example when the client has gone. */
function identifyPeer(socket: Socket, libc: Libc): PeerCredentials | undefined {
  try {
    return libc.peerCredentials(descriptorOf(socket));
  } catch {
    return undefined;
  }
}
