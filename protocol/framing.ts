/** Frames of the agent protocol: a uint32 length, then that many bytes (RFC 9987, section 3). */
import { Failure, malformed } from "./failure.ts";
import { longestFrame } from "./numbers.ts";

/** A message with its length in front, ready for the socket. */
export function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafeSlow(4 + message.length);
  framed.writeUInt32BE(message.length, 0);
  framed.set(message, 4);
  return framed;
}

/**
 * Cuts a stream of bytes into messages. A stream that lies about a length cannot be trusted again:
 * once `push` or `end` has thrown, its connection is to be closed.
 */
export class FrameReader {
  #pending: Buffer | undefined;
  #filled = 0;

  /**
   * Takes the next bytes of the stream and returns the messages that are complete, without their
   * length fields. They are views of `chunk` where it held them whole.
   * @throws {Failure} "too-large" or "malformed", when a length is over 256 KiB or zero
   */
  push(chunk: Buffer): Buffer[] {
    const messages: Buffer[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#pending === undefined) {
        const length = rest.length >= 4 ? checkedLength(rest) : longestFrame + 1;
        if (rest.length >= 4 + length) {
          messages.push(rest.subarray(4, 4 + length));
          rest = rest.subarray(4 + length);
          continue;
        }
        this.#pending = Buffer.alloc(4 + (rest.length >= 4 ? length : 0));
        this.#filled = 0;
      }
      rest = this.#fill(rest, messages);
    }
    return messages;
  }

  /** The stream has ended. @throws {Failure} "malformed", when it ended within a frame */
  end(): void {
    if (this.#pending !== undefined) {
      this.#pending.fill(0);
      this.#pending = undefined;
      throw malformed("The connection ended within a message.");
    }
  }

  /** Moves bytes into the frame that is under way; returns those that are left over. */
  #fill(bytes: Buffer, messages: Buffer[]): Buffer {
    let pending = this.#pending as Buffer;
    const count = Math.min(bytes.length, pending.length - this.#filled);
    pending.set(bytes.subarray(0, count), this.#filled);
    bytes.fill(0, 0, count);
    this.#filled += count;
    if (this.#filled < pending.length) return bytes.subarray(count);
    if (pending.length === 4) {
      const whole = Buffer.alloc(4 + checkedLength(pending));
      whole.set(pending);
      pending = whole;
      this.#pending = whole;
      return this.#fill(bytes.subarray(count), messages);
    }
    messages.push(pending.subarray(4));
    this.#pending = undefined;
    return bytes.subarray(count);
  }
}

function checkedLength(bytes: Buffer): number {
  const length = bytes.readUInt32BE(0);
  if (length === 0) throw malformed("A message is empty.");
  if (length > longestFrame) throw new Failure("too-large", "A message is longer than 256 KiB.");
  return length;
}
