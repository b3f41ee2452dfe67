/**
 * In place of `node:net`, which takes bun as long to load as it takes to start: connections of an
 * `AgentClient`. They block while they wait for a reply.
 */
import { EventEmitter } from "node:events";
import { FrameReader, frame } from "../../../protocol/framing.ts";
import { connectTo, readMessage, writeAll } from "../libc.ts";

class Connection extends EventEmitter {
  readonly #descriptor: number;
  readonly #replies = new FrameReader();
  #isClosed = false;

  /** @throws {SystemError} */
  constructor(path: string) {
    super();
    this.#descriptor = connectTo(path);
    setImmediate(() => this.emit("connect"));
  }

  /** Writes a request, and waits for its reply when everything else is done. */
  write(request: Uint8Array, written: () => void): void {
    try {
      writeAll(this.#descriptor, request);
    } catch (error) {
      setImmediate(() => this.emit("error", error));
    }
    written();
    setImmediate(() => this.#read());
  }

  /** The system closes the connection, when the program ends. */
  destroy(): void {
    this.#isClosed = true;
  }

  #read(): void {
    if (this.#isClosed) return;
    try {
      const reply = readMessage(this.#descriptor, this.#replies);
      if (reply === undefined) this.#end("close");
      else this.emit("data", frame(reply));
    } catch (error) {
      this.#end("error", error);
    }
  }

  #end(event: "close" | "error", error?: unknown): void {
    this.#isClosed = true;
    this.emit(event, error);
  }
}

/** Connects to a socket; "connect" follows. @throws {SystemError} */
export function connect({ path }: { readonly path: string }): Connection {
  return new Connection(path);
}
