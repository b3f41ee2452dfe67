/**
 * One client's connection: frames in, replies out, in the order of the requests.
 *
 * A request is begun when the one before it is answered, so that pipelined requests have the effect
 * of the same requests made one by one. Connections do not wait for each other.
 */
import type { Socket } from "node:net";
import { FrameReader, frame } from "../protocol/framing.ts";
import { longestFrame } from "../protocol/numbers.ts";
import { encodeReply, type Reply } from "../protocol/replies.ts";
import type { Agent, ConnectionState } from "./agent.ts";
import { dispatch } from "./dispatch.ts";
import type { PeerCredentials } from "./host/libc.ts";
import { AskedCards } from "./policy/asked-cards.ts";
import { SessionBindings } from "./policy/session.ts";

/** Requests that wait on one connection before its client is made to wait. */
const longestQueue = 64;

/** Serves one connection until it ends. */
export function serveConnection(
  agent: Agent,
  socket: Socket,
  peer: PeerCredentials | undefined,
): void {
  const connection = new Connection(agent, socket, peer);
  socket.on("data", (chunk) => connection.receive(chunk));
  socket.on("end", () => connection.finish());
  socket.on("close", () => connection.close());
  socket.on("drain", () => connection.resume());
  socket.on("error", (error) => agent.log(`connection lost: ${error.message}`));
}

class Connection {
  readonly #agent: Agent;
  readonly #socket: Socket;
  readonly #state: ConnectionState;
  readonly #frames = new FrameReader();
  readonly #queue: Buffer[] = [];
  #isBusy = false;
  #isFinished = false;

  constructor(agent: Agent, socket: Socket, peer: PeerCredentials | undefined) {
    this.#agent = agent;
    this.#socket = socket;
    const bindings = new SessionBindings();
    this.#state = {
      peer,
      bindings,
      lastFailure: undefined,
      askedCards: new AskedCards(),
      prepared: undefined,
      isClosed: false,
    };
  }

  /** Takes bytes from the client. A stream that lies about a length ends the connection. */
  receive(chunk: Buffer): void {
    try {
      this.#queue.push(...this.#frames.push(chunk));
    } catch (error) {
      this.#abort(error);
      return;
    }
    this.#work();
  }

  /** The client sends no more: what it has asked for is still answered. */
  finish(): void {
    try {
      this.#frames.end();
    } catch (error) {
      this.#abort(error);
      return;
    }
    this.#isFinished = true;
    this.#work();
  }

  /** Nothing comes or goes any more. */
  close(): void {
    this.#state.isClosed = true;
    this.#agent.providers.abandon(this.#state.prepared);
  }

  /** The client has taken what was sent to it. */
  resume(): void {
    this.#work();
  }

  /** Answers what can be answered at once; a reply that takes longer goes on from here later. */
  #work(): void {
    while (!this.#isBusy && !this.#socket.writableNeedDrain) {
      const message = this.#queue.shift();
      if (message === undefined) break;
      const reply = dispatch(this.#agent, this.#state, message);
      if (reply instanceof Promise) this.#answerLater(reply, message);
      else this.#answer(reply, message);
    }
    this.#balance();
  }

  #answerLater(reply: Promise<Reply>, message: Buffer): void {
    this.#isBusy = true;
    void reply.then((settled) => {
      this.#isBusy = false;
      this.#answer(settled, message);
      this.#work();
    });
  }

  #answer(reply: Reply, message: Buffer): void {
    message.fill(0);
    if (this.#socket.destroyed) return;
    const encoded = encodeReply(reply);
    const isTooLong = encoded.length > longestFrame;
    if (isTooLong) this.#agent.log("a reply is longer than 256 KiB; refused instead");
    this.#socket.write(frame(isTooLong ? encodeReply({ type: "failure" }) : encoded));
  }

  /** Reads on or waits, by the length of the queue; ends when all is said. */
  #balance(): void {
    const isIdle = !this.#isBusy && this.#queue.length === 0;
    if (this.#isFinished && isIdle) this.#socket.end();
    else if (this.#queue.length >= longestQueue) this.#socket.pause();
    else if (this.#socket.isPaused()) this.#socket.resume();
  }

  #abort(error: unknown): void {
    this.#agent.log(`connection ended: ${error instanceof Error ? error.message : "?"}`);
    for (const message of this.#queue.splice(0)) message.fill(0);
    this.#socket.destroy();
  }
}
