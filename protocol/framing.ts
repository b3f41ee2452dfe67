/** Frames of the agent protocol: a uint32 length, then that many bytes (RFC 9987, section 3). */
import { Failure, malformed } from "./failure.ts";
import { maxFrameLength } from "./numbers.ts";
import { Writer } from "./wire.ts";

/** The bytes of a length field. */
export const lengthSize = 4;

/** A message with its length field, ready for the socket. */
export function frame(message: Uint8Array): Buffer {
  return finishFrame(frameWriter(message.length).bytes(message));
}

/**
 * A writer for a message, behind room for its length field.
 * @param capacity the message's expected length
 */
export function frameWriter(capacity: number): Writer {
  return new Writer(lengthSize + capacity).uint32(0);
}

/** The written message with its length field, ready for the socket. */
export function finishFrame(writer: Writer): Buffer {
  const framed = writer.finish();
  framed.writeUInt32BE(framed.length - lengthSize);
  return framed;
}

/**
 * Splits a stream of bytes into messages. Once `push`, `next` or `end` has thrown, the connection must
 * be closed.
 *
 * The reader owns the chunks: it overwrites the parts that it has copied, and a message that is within
 * one chunk is a view of it.
 */
export class FrameReader {
  readonly #maxLength: number;
  /** Received chunks that are not processed yet. */
  readonly #chunks: Buffer[] = [];
  /** The received part of an incomplete frame, which grows as data arrives. */
  #pending: Buffer | undefined;
  #filled = 0;

  /** @param maxLength of a message, without its length field */
  constructor(maxLength = maxFrameLength) {
    this.#maxLength = maxLength;
  }

  /**
   * Adds a chunk and returns all complete messages, without their length fields.
   * @throws {Failure} malformed, for a length of zero; too-large, for one over the maximum
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

  /** Adds a chunk of the stream. */
  add(chunk: Buffer): void {
    if (chunk.length > 0) this.#chunks.push(chunk);
  }

  /**
   * The next complete message, without its length field.
   * @throws {Failure} malformed, for a length of zero; too-large, for one over the maximum
   */
  next(): Buffer | undefined {
    for (;;) {
      const [chunk] = this.#chunks;
      if (chunk === undefined) return undefined;
      const message = this.#pending === undefined ? this.#split(chunk) : this.#fill(chunk);
      if (message !== undefined) return message;
    }
  }

  /** The memory of received data that `next` has not returned, in bytes. */
  get held(): number {
    let held = memoryOf(this.#pending);
    for (const chunk of this.#chunks) held += memoryOf(chunk);
    return held;
  }

  /** Ends the stream. @throws {Failure} malformed, if it ends within a frame */
  end(): void {
    if (this.held > 0) throw malformed("The connection ended within a message.");
  }

  /** Overwrites the received data that `next` has not returned. */
  clear(): void {
    this.#pending?.fill(0);
    for (const chunk of this.#chunks.splice(0)) chunk.fill(0);
    this.#pending = undefined;
  }

  /** Returns the message if the chunk holds all of it; otherwise starts a pending frame. */
  #split(chunk: Buffer): Buffer | undefined {
    const size = this.#frameSize(chunk, chunk.length);
    if (chunk.length >= size) {
      this.#advance(chunk, size);
      return chunk.subarray(4, size);
    }
    this.#filled = 0;
    if (2 * chunk.length < chunk.buffer.byteLength || chunk.length < 4) {
      this.#pending = Buffer.allocUnsafeSlow(Math.max(4, chunk.length));
    } else {
      // The data is at least half of the chunk's memory: keep it without a copy.
      this.#pending = chunk;
      this.#filled = chunk.length;
      this.#chunks.shift();
    }
    return undefined;
  }

  /** Moves bytes into the pending frame; returns the message once it is complete. */
  #fill(chunk: Buffer): Buffer | undefined {
    const size = this.#frameSize(this.#pending, this.#filled);
    const count = Math.min(chunk.length, size - this.#filled);
    const pending = this.#reserve(this.#filled + count, size);
    pending.set(chunk.subarray(0, count), this.#filled);
    chunk.fill(0, 0, count);
    this.#filled += count;
    this.#advance(chunk, count);
    if (this.#filled < this.#frameSize(pending, this.#filled)) return undefined;
    this.#pending = undefined;
    return pending.subarray(4, size);
  }

  /** Grows the pending frame to a capacity between `min` and `max`, and returns it. */
  #reserve(min: number, max: number): Buffer {
    const old = this.#pending ?? Buffer.alloc(0);
    if (old.length >= min) return old;
    const grown = Buffer.allocUnsafeSlow(Math.min(max, Math.max(min, 2 * old.length)));
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
   * The size of a frame, with its length field; 4 until that field is complete.
   * @param filled the number of received bytes
   */
  #frameSize(bytes: Buffer | undefined, filled: number): number {
    if (bytes === undefined || filled < 4) return 4;
    const length = bytes.readUInt32BE(0);
    if (length === 0) throw malformed("Empty message.");
    if (length <= this.#maxLength) return 4 + length;
    throw new Failure("too-large", `A message is longer than ${this.#maxLength / 1024} KiB.`);
  }
}

/** The size of the memory that a view keeps alive, in bytes. */
export function memoryOf(bytes: Buffer | undefined): number {
  return bytes?.buffer.byteLength ?? 0;
}
