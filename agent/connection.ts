/**
 * One client's connection: frames in, replies out, in the order of the requests.
 *
 * A request is begun when the one before it is answered, so that pipelined requests have the effect
 * of the same requests made one by one. Connections do not wait for each other.
 */
import type { Socket } from "node:net";
import { FrameReader, frame, memoryOf } from "../protocol/framing.ts";
import { maxFrameLength, requestNumbers } from "../protocol/numbers.ts";
import { encodeReply, type Reply } from "../protocol/replies.ts";
import type { Agent, ConnectionState } from "./agent.ts";
import { fewBytes, type MemoryHolder } from "./connection-memory.ts";
import { dispatch } from "./dispatch.ts";
import type { PeerCredentials } from "./host/libc.ts";
import { PinPromptBackoff } from "./policy/pin-prompt-backoff.ts";
import { clientGone } from "./policy/prompts.ts";
import { SessionBindings } from "./policy/session.ts";

/** About what a connection and a request leave behind beside their bytes. */
const connectionSize = 8 * 1024;
const requestSize = 1024;

/** Requests of one connection that are answered before others have their turn. */
const maxAtOnce = 100;

/** Milliseconds between looks at whether a client is there that is not read from meanwhile. */
const probeInterval = 1000;

const nothing = Buffer.alloc(0);

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

class Connection implements MemoryHolder {
  readonly #agent: Agent;
  readonly #socket: Socket;
  readonly #state: ConnectionState;
  readonly #frames = new FrameReader();
  /** The request that is next, or that is being answered. */
  #message: Buffer | undefined;
  #isBusy = false;
  #isFinished = false;
  /** Made when a request wants it: most do not, and short connections would notice the cost. */
  #gone: AbortController | undefined;
  #probe: NodeJS.Timeout | undefined;

  constructor(agent: Agent, socket: Socket, peer: PeerCredentials | undefined) {
    this.#agent = agent;
    this.#socket = socket;
    const goneSignal = () => this.#goneSignal();
    this.#state = {
      peer,
      bindings: new SessionBindings(),
      lastFailure: undefined,
      pinPromptBackoff: new PinPromptBackoff(),
      prepared: undefined,
      isClosed: false,
      get gone() {
        return goneSignal();
      },
    };
  }

  /** Takes bytes from the client. */
  receive(chunk: Buffer): void {
    this.#agent.idleCollection.noteArrival();
    this.#frames.add(chunk);
    this.#work();
  }

  /**
   * The client sends no more: what it has asked for is still answered, but nobody is asked anything
   * for it. When a program at the other end of a forwarded connection goes, this is all that is seen
   * of it; and clients which close this half and then wait for somebody's answer are not known.
   */
  finish(): void {
    this.#isFinished = true;
    this.#gone?.abort(clientGone);
    this.#work();
  }

  /** Nothing comes or goes any more. */
  close(): void {
    this.#state.isClosed = true;
    this.#agent.idleCollection.noteGarbage(connectionSize + this.#received);
    this.#frames.clear();
    if (!this.#isBusy) this.#message?.fill(0);
    this.#agent.connectionMemory.leave(this);
    clearInterval(this.#probe);
    this.#gone?.abort(clientGone);
    this.#agent.providers.abandon(this.#state.prepared);
  }

  /** The client has taken what was sent to it, or the connection has its turn for more memory. */
  resume(): void {
    this.#work();
  }

  /** Closes the connection. */
  end(reason: string): void {
    this.#agent.log(`connection ended: ${reason}`);
    this.#agent.idleCollection.noteDropped(this.#received);
    this.#agent.connectionMemory.leave(this);
    this.#frames.clear();
    this.#socket.destroy();
  }

  /** Answers what can be answered at once; a reply that takes longer goes on from here later. */
  #work(): void {
    try {
      for (let count = 0; this.#mayGoOn; count++) {
        if (count === maxAtOnce) {
          this.#goOnLater();
          return;
        }
        const message = this.#next();
        if (message === undefined) break;
        const reply = dispatch(this.#agent, this.#state, message);
        if (reply instanceof Promise) this.#answerLater(reply, message);
        else this.#answer(reply, message);
      }
      this.#balance();
    } catch (error) {
      // A stream that lies about a length.
      this.end(error instanceof Error ? error.message : "?");
    }
  }

  /** Whether the reply to the request before has gone, to a client that is there. */
  get #mayGoOn(): boolean {
    const { writableLength, errored, destroyed } = this.#socket;
    return !this.#isBusy && writableLength === 0 && errored === null && !destroyed;
  }

  /** Lets other connections have their turn first. */
  #goOnLater(): void {
    if (this.#received > fewBytes) this.#socket.pause();
    setImmediate(() => this.#work());
  }

  /** The next request, if it may be answered now. */
  #next(): Buffer | undefined {
    const message = this.#message ?? this.#frames.next();
    this.#message = message;
    if (message?.[0] !== requestNumbers.requestIdentities) return message;
    // Only lists are so long that many of them are a burden.
    const { connectionMemory } = this.#agent;
    return connectionMemory.hasFreeTurn || connectionMemory.takeTurn(this) ? message : undefined;
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
    this.#message = undefined;
    if (this.#socket.destroyed) return;
    const encoded = encodeReply(reply);
    const isTooLong = encoded.length > maxFrameLength;
    if (isTooLong) this.#agent.log("a reply is longer than 256 KiB; refused instead");
    this.#agent.idleCollection.noteGarbage(requestSize + message.length + encoded.length);
    this.#socket.write(frame(isTooLong ? encodeReply({ type: "failure" }) : encoded));
    const { writableLength, writableNeedDrain } = this.#socket;
    // Only where much is left does Node.js tell when it has been sent.
    if (writableLength > 0 && !writableNeedDrain) this.#socket.write(nothing, () => this.#work());
  }

  #goneSignal(): AbortSignal {
    this.#gone ??= new AbortController();
    if (this.#isFinished || this.#state.isClosed) this.#gone.abort(clientGone);
    return this.#gone.signal;
  }

  /** Bytes of requests that are not answered. */
  get #received(): number {
    return this.#frames.held + memoryOf(this.#message);
  }

  /** Reads on or waits, by what is held; ends when all is said. */
  #balance(): void {
    if (this.#socket.destroyed) return;
    const { connectionMemory } = this.#agent;
    const received = this.#received;
    const unsent = this.#socket.writableLength;
    connectionMemory.note(this, received + unsent);
    if (this.#socket.destroyed) return;
    if (unsent > fewBytes) connectionMemory.takeTurn(this);
    const isLong = received > fewBytes;
    // All requests that have come whole are answered, and the client, or its kernel, has the replies.
    const isIdle = this.#message === undefined && unsent === 0;
    if (this.#isBusy || (isIdle && !isLong)) connectionMemory.endTurn(this);
    if (isIdle && this.#isFinished) {
      this.#frames.end();
      this.#socket.end();
    } else if (isLong && !(isIdle && connectionMemory.takeTurn(this))) this.#pause();
    else if (this.#socket.isPaused()) this.#readOn();
  }

  /** Reads no more for a while. That a client has closed, only a write tells then: also an empty one. */
  #pause(): void {
    this.#socket.pause();
    this.#probe ??= setInterval(() => this.#socket.write(nothing), probeInterval);
  }

  #readOn(): void {
    this.#socket.resume();
    clearInterval(this.#probe);
    this.#probe = undefined;
  }
}
