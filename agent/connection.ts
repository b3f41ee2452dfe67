/**
 * One client's connection: frames in, replies out, in the order of the requests.
 *
 * A request starts when the one before it is answered, so pipelined requests act like sequential ones.
 * Connections do not wait for each other.
 */
import type { Socket } from "node:net";
import { FrameReader, lengthSize, memoryOf } from "../protocol/framing.ts";
import { maxFrameLength, requestNumbers } from "../protocol/numbers.ts";
import { frameReply, type Reply } from "../protocol/replies.ts";
import type { Agent, ConnectionState } from "./agent.ts";
import { type MemoryHolder, maxBytesWithoutSlot } from "./connection-memory.ts";
import { dispatch } from "./dispatch.ts";
import type { PeerCredentials } from "./host/kernel.ts";
import { PinPromptBackoff } from "./pkcs11/pin-prompt.ts";
import { clientGone } from "./policy/prompts.ts";
import { SessionBindings } from "./policy/session.ts";

/** Approximate garbage of a connection and of a request, in bytes, beside their messages. */
const connectionSize = 8 * 1024;
const requestSize = 1024;

/** Requests of one connection that are answered before it yields to the event loop. */
const maxBatch = 100;

/** Milliseconds between checks whether the client of a paused connection is still there. */
const probeInterval = 1000;

const emptyBuffer = Buffer.alloc(0);

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
  /** The request that is being answered, or that comes next. */
  #message: Buffer | undefined;
  #isBusy = false;
  #isFinished = false;
  /** Created on first use: few requests need it, and its cost shows on short connections. */
  #gone: AbortController | undefined;
  #probe: NodeJS.Timeout | undefined;

  constructor(agent: Agent, socket: Socket, peer: PeerCredentials | undefined) {
    this.#agent = agent;
    this.#socket = socket;
    const goneSignal = () => this.#goneSignal();
    this.#state = {
      peer,
      bindings: new SessionBindings(),
      upstreams: agent.upstreams.forClient(peer?.pid),
      lastFailure: undefined,
      pinBackoff: new PinPromptBackoff(agent.clock),
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
   * Handles the client's end of input: pending requests are still answered, but prompts for them are
   * cancelled. When a client at the far end of a forwarded connection exits, the agent sees only this.
   * No known client half-closes and then waits for a prompt.
   */
  finish(): void {
    this.#isFinished = true;
    this.#gone?.abort(clientGone);
    this.#work();
  }

  /** Cleans up after the socket has closed. */
  close(): void {
    this.#state.isClosed = true;
    this.#agent.idleCollection.noteGarbage(connectionSize + this.#received);
    this.#frames.clear();
    if (!this.#isBusy) this.#message?.fill(0);
    this.#agent.connectionMemory.leave(this);
    clearInterval(this.#probe);
    this.#gone?.abort(clientGone);
    this.#agent.providers.abandon(this.#state.prepared);
    this.#state.upstreams.close();
  }

  /** Continues when the client has read its replies, or when the connection gets a memory slot. */
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

  /** Answers requests until one has to wait; `#work` runs again when it has settled. */
  #work(): void {
    try {
      for (let count = 0; this.#isReady; count++) {
        if (count === maxBatch) {
          this.#yield();
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
      // Invalid framing.
      this.end(error instanceof Error ? error.message : "?");
    }
  }

  /** Whether the previous reply has been sent and the socket is open. */
  get #isReady(): boolean {
    const { writableLength, errored, destroyed } = this.#socket;
    return !this.#isBusy && writableLength === 0 && errored === null && !destroyed;
  }

  /** Lets other connections run first. */
  #yield(): void {
    if (this.#received > maxBytesWithoutSlot) this.#socket.pause();
    setImmediate(() => this.#work());
  }

  /** The next request; undefined if there is none, or it has to wait for memory. */
  #next(): Buffer | undefined {
    const message = this.#message ?? this.#frames.next();
    this.#message = message;
    if (message?.[0] !== requestNumbers["request-identities"]) return message;
    // Only lists of identities have replies long enough to need a slot in advance.
    const { connectionMemory } = this.#agent;
    return connectionMemory.hasFreeSlot || connectionMemory.acquireSlot(this) ? message : undefined;
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
    const framed = frameReply(reply);
    const isTooLong = framed.length - lengthSize > maxFrameLength;
    if (isTooLong) this.#agent.log("a reply is longer than 256 KiB; refused instead");
    this.#agent.idleCollection.noteGarbage(requestSize + message.length + framed.length);
    this.#socket.write(isTooLong ? frameReply({ type: "failure" }) : framed);
    const { writableLength, writableNeedDrain } = this.#socket;
    // Without "drain" (little is unsent), the callback of an empty write tells when it has been sent.
    if (writableLength > 0 && !writableNeedDrain) {
      this.#socket.write(emptyBuffer, () => this.#work());
    }
  }

  #goneSignal(): AbortSignal {
    this.#gone ??= new AbortController();
    if (this.#isFinished || this.#state.isClosed) this.#gone.abort(clientGone);
    return this.#gone.signal;
  }

  /** Bytes of unanswered requests. */
  get #received(): number {
    return this.#frames.held + memoryOf(this.#message);
  }

  /** Applies backpressure by the memory held; ends the connection when all is answered. */
  #balance(): void {
    if (this.#socket.destroyed) return;
    const { connectionMemory } = this.#agent;
    const received = this.#received;
    const unsent = this.#socket.writableLength;
    connectionMemory.update(this, received + unsent);
    if (this.#socket.destroyed) return;
    if (unsent > maxBytesWithoutSlot) connectionMemory.acquireSlot(this);
    const isLong = received > maxBytesWithoutSlot;
    // Every complete request is answered, and the replies have left for the kernel.
    const isIdle = this.#message === undefined && unsent === 0;
    if (this.#isBusy || (isIdle && !isLong)) connectionMemory.releaseSlot(this);
    if (isIdle && this.#isFinished) {
      this.#frames.end();
      this.#socket.end();
    } else if (isLong && !(isIdle && connectionMemory.acquireSlot(this))) this.#pause();
    else if (this.#socket.isPaused()) this.#unpause();
  }

  /** Stops reading. A paused socket notices that the client has closed only by a write, even an empty one. */
  #pause(): void {
    this.#socket.pause();
    this.#probe ??= setInterval(() => this.#socket.write(emptyBuffer), probeInterval);
  }

  #unpause(): void {
    this.#socket.resume();
    clearInterval(this.#probe);
    this.#probe = undefined;
  }
}
