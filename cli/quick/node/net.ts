/**
 * In place of `node:net`, which takes bun as long to load as it takes to start: connections of an
 * `AgentClient`. They block while they wait for a reply.
 */
import { EventEmitter } from "node:events";
import { FrameReader, frame } from "../../../protocol/framing.ts";
import { connectTo, readInto, writeAll } from "../libc.ts";

const bufferLength = 64 * 1024;

class Connection extends EventEmitter {
  readonly #descriptor: number;
  readonly #replies = new FrameReader();
  /** Requests without a reply. */
  #pending = 0;
  #isReading = false;

  /** @throws {SystemError} */
  constructor(path: string) {
    super();
    this.#descriptor = connectTo(path);
    setImmediate(() => this.emit("connect"));
  }

  /** Writes a request. */
  write(request: Uint8Array, written: () => void): void {
    try {
      writeAll(this.#descriptor, request);
    } catch (error) {
      setImmediate(() => this.emit("error", error));
    }
    written();
    this.#pending += 1;
    this.#waitForReply();
  }

  /** The system closes the connection, when the program ends. */
  destroy(): void {
    this.#pending = 0;
  }

  /** Waits when everything else is done. */
  #waitForReply(): void {
    if (this.#isReading || this.#pending === 0) return;
    this.#isReading = true;
    setImmediate(() => {
      this.#isReading = false;
      this.#read();
      this.#waitForReply();
    });
  }

  #read(): void {
    const buffer = Buffer.allocUnsafeSlow(bufferLength);
    try {
      const length = readInto(this.#descriptor, buffer);
      if (length === 0) this.#end();
      this.#replies.add(buffer.subarray(0, length));
      for (let reply = this.#replies.next(); reply; reply = this.#replies.next()) {
        this.#pending -= 1;
        this.emit("data", frame(reply));
      }
    } catch (error) {
      this.#pending = 0;
      this.emit("error", error);
    }
  }

  #end(): void {
    this.#pending = 0;
    this.emit("close");
  }
}

/** Connects to a socket; "connect" follows. @throws {SystemError} */
export function connect({ path }: { readonly path: string }): Connection {
  return new Connection(path);
}
