/** Frames of the agent protocol: a uint32 length, then that many bytes (RFC 9987, section 3). */
import { Failure, malformed } from "./failure.ts";
import { maxFrameLength } from "./numbers.ts";

/** A message with its length in front, ready for the socket. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafeSlow(4 + message.length);
  framed.writeUInt32BE(message.length, 0);
  framed.set(message, 4);
  return framed;
}

/**
 * Cuts a stream of bytes into messages. A stream that lies about a length cannot be trusted again:
 * once `push`, `next` or `end` has thrown, its connection is to be closed.
 *
 * The chunks belong to the reader: what it copies of them is overwritten, and messages are views of
 * them where they held them whole.
 */
export class FrameReader {
  readonly #maxLength: number;
  /** What has come and was not looked at yet. */
  readonly #chunks: Buffer[] = [];
  /** The beginning of a frame that came in several chunks. It grows with what comes of it. */
  #pending: Buffer | undefined;
  #filled = 0;

  /** @param maxLength bytes of a message, without its length field */
  constructor(maxLength = maxFrameLength) {
    this.#maxLength = maxLength;
  }

  /**
   * Takes the next bytes of the stream and returns the messages that are complete, without their
   * length fields.
   * @throws {Failure} "too-large" or "malformed", when a length is zero or over the maximum
   */
  push(chunk: Buffer): Buffer[] {
    this.add(chunk);
    const messages: Buffer[] = [];
    for (;;) {
      const message = this.next();
      if (message === undefined) return messages;
      messages.push(message);
    }
  }

  /** Takes the next bytes of the stream. */
  add(chunk: Buffer): void {
    if (chunk.length > 0) this.#chunks.push(chunk);
  }

  /**
   * The next message that is complete, without its length field.
   * @throws {Failure} "too-large" or "malformed", when a length is zero or over the maximum
   */
  next(): Buffer | undefined {
    for (;;) {
      const [chunk] = this.#chunks;
      if (chunk === undefined) return undefined;
      const message = this.#pending === undefined ? this.#cut(chunk) : this.#fill(chunk);
      if (message !== undefined) return message;
    }
  }

  /** Bytes of memory that hold what has come and is no message yet. */
  get held(): number {
    let held = memoryOf(this.#pending);
    for (const chunk of this.#chunks) held += memoryOf(chunk);
    return held;
  }

  /** The stream has ended. @throws {Failure} "malformed", when it ended within a frame */
  end(): void {
    if (this.held > 0) throw malformed("The connection ended within a message.");
  }

  /** Overwrites what has come and is no message yet. */
  clear(): void {
    this.#pending?.fill(0);
    for (const chunk of this.#chunks.splice(0)) chunk.fill(0);
    this.#pending = undefined;
  }

  /** A message that a chunk holds whole; else what it holds of one becomes the pending frame. */
  #cut(chunk: Buffer): Buffer | undefined {
    const size = this.#frameSize(chunk, chunk.length);
    if (chunk.length >= size) {
      this.#advance(chunk, size);
      return chunk.subarray(4, size);
    }
    this.#filled = 0;
    if (2 * chunk.length < chunk.buffer.byteLength || chunk.length < 4) {
      this.#pending = Buffer.allocUnsafeSlow(Math.max(4, chunk.length));
    } else {
      // Most of the chunk's memory: it stays where it is.
      this.#pending = chunk;
      this.#filled = chunk.length;
      this.#chunks.shift();
    }
    return undefined;
  }

  /** Moves bytes into the pending frame; returns its message when that is complete. */
  #fill(chunk: Buffer): Buffer | undefined {
    const size = this.#frameSize(this.#pending, this.#filled);
    const count = Math.min(chunk.length, size - this.#filled);
    const pending = this.#grown(size, this.#filled + count);
    pending.set(chunk.subarray(0, count), this.#filled);
    chunk.fill(0, 0, count);
    this.#filled += count;
    this.#advance(chunk, count);
    if (this.#filled < this.#frameSize(pending, this.#filled)) return undefined;
    this.#pending = undefined;
    return pending.subarray(4, size);
  }

  /** The pending frame with room for some bytes, and for no more than its size. */
  #grown(size: number, least: number): Buffer {
    const old = this.#pending ?? Buffer.alloc(0);
    if (old.length >= least) return old;
    const grown = Buffer.allocUnsafeSlow(Math.min(size, Math.max(least, 2 * old.length)));
    grown.set(old.subarray(0, this.#filled));
    old.fill(0);
    this.#pending = grown;
    return grown;
  }

  #advance(chunk: Buffer, count: number): void {
    if (count === chunk.length) this.#chunks.shift();
    else this.#chunks[0] = chunk.subarray(count);
  }

  /**
   * The length of a frame with its length field; that of the field alone while that is not complete.
   * @param filled how many bytes have come
   */
  #frameSize(bytes: Buffer | undefined, filled: number): number {
    if (bytes === undefined || filled < 4) return 4;
    const length = bytes.readUInt32BE(0);
    if (length === 0) throw malformed("A message is empty.");
    if (length <= this.#maxLength) return 4 + length;
    throw new Failure("too-large", `A message is longer than ${this.#maxLength / 1024} KiB.`);
  }
}

/** What a view keeps from being collected. */
export function memoryOf(bytes: Buffer | undefined): number {
  return bytes?.buffer.byteLength ?? 0;
}
