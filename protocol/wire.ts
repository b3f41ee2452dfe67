/**
 * The data types of RFC 4251, section 5.
 *
 * A `Reader` checks every length and throws `Failure` ("malformed") for a value that exceeds the
 * input. The buffers that it returns are views of the input, not copies.
 */
import { Failure, malformed } from "./failure.ts";
import { decodeText, encodeText } from "./text.ts";

const empty = Buffer.alloc(0);

/** OpenSSH's limit for an mpint: 16384 bits, and a zero byte for the sign. */
const maxIntegerLength = 2049;

/** Reads values from a buffer. */
export class Reader {
  readonly #bytes: Buffer;
  #at: number;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = 0;
  }

  /** The number of unread bytes. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** `byte`: 0 to 255. */
  byte(): number {
    if (this.remaining < 1) throw malformed("The message ends before a byte.");
    return this.#bytes[this.#at++] as number;
  }

  /** `boolean`: a byte; any value but 0 is true. */
  bool(): boolean {
    return this.byte() !== 0;
  }

  /** `uint32`, big-endian. */
  uint32(): number {
    if (this.remaining < 4) throw malformed("The message ends within a uint32.");
    const value = this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    return value;
  }

  /** `uint64`, big-endian. */
  uint64(): bigint {
    if (this.remaining < 8) throw malformed("The message ends within a uint64.");
    const value = this.#bytes.readBigUInt64BE(this.#at);
    this.#at += 8;
    return value;
  }

  /** `string`: a uint32 length, then that many bytes, returned as a view. */
  string(): Buffer {
    const length = this.uint32();
    if (length > this.remaining) throw malformed("A string is longer than its message.");
    return this.bytes(length);
  }

  /** `string` of text; text.ts says what becomes of invalid UTF-8. */
  text(): string {
    return decodeText(this.string());
  }

  /**
   * `string` that OpenSSH reads as a C string: text that may end with a NUL, which is removed.
   * OpenSSH's clients fail on a list of identities with a NUL anywhere else.
   */
  cString(): string {
    const bytes = this.string();
    const end = bytes.indexOf(0);
    if (end >= 0 && end < bytes.length - 1) {
      throw new Failure(
        "malformed",
        "A string contains a NUL.",
        "Leave it out: OpenSSH does not accept it.",
      );
    }
    return decodeText(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /** `string` with a name in printable US-ASCII, such as an algorithm's or an extension's. */
  name(): string {
    const bytes = this.string();
    for (const byte of bytes) {
      if (byte <= 0x20 || byte >= 0x7f)
        throw malformed("A name contains characters other than printable US-ASCII.");
    }
    return bytes.toString("latin1");
  }

  /**
   * A non-negative `mpint`: its magnitude, big-endian, without leading zeros; zero is empty.
   */
  mpint(): Buffer {
    const bytes = this.string();
    const isTooLong = bytes.length === maxIntegerLength && bytes[0] !== 0;
    if (bytes.length > maxIntegerLength || isTooLong) throw malformed("An integer is too long.");
    if (bytes.length > 0 && (bytes[0] as number) >= 0x80)
      throw malformed("An integer is negative.");
    return trimZeros(bytes);
  }

  /** The next `length` bytes, as a view. */
  bytes(length: number): Buffer {
    if (length > this.remaining) throw malformed("The message ends too early.");
    const start = this.#at;
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }

  /** All unread bytes, as a view. */
  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  /** Throws if there are unread bytes. */
  end(): void {
    if (this.remaining > 0) throw malformed("Bytes follow the end of the message.");
  }
}

/** Writes values to a buffer that grows; `finish` returns it. */
export class Writer {
  #buffer: Buffer;
  #length = 0;

  /** @param capacity the initial size of the buffer, in bytes */
  constructor(capacity = 256) {
    this.#buffer = capacity === 0 ? empty : Buffer.allocUnsafeSlow(capacity);
  }

  /** `byte`. */
  byte(value: number): this {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
    return this;
  }

  /** `boolean`. */
  bool(value: boolean): this {
    return this.byte(value ? 1 : 0);
  }

  /** `uint32`. */
  uint32(value: number): this {
    this.#reserve(4);
    this.#length = this.#buffer.writeUInt32BE(value, this.#length);
    return this;
  }

  /** `uint64`. */
  uint64(value: bigint): this {
    this.#reserve(8);
    this.#length = this.#buffer.writeBigUInt64BE(value, this.#length);
    return this;
  }

  /** `string` of bytes. */
  string(value: Uint8Array): this {
    return this.uint32(value.length).bytes(value);
  }

  /** `string` of text or a name. */
  text(value: string): this {
    return this.string(encodeText(value));
  }

  /** `mpint` from the magnitude of a non-negative integer, big-endian. */
  mpint(magnitude: Uint8Array): this {
    const trimmed = trimZeros(magnitude);
    const padded = trimmed.length > 0 && (trimmed[0] as number) >= 0x80;
    this.uint32(trimmed.length + (padded ? 1 : 0));
    if (padded) this.byte(0);
    return this.bytes(trimmed);
  }

  /** Bytes without a length. */
  bytes(value: Uint8Array): this {
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  /** The written bytes, as a view. The writer must not be used afterwards. */
  finish(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#buffer.length) return;
    const old = this.#buffer;
    this.#buffer = Buffer.allocUnsafeSlow(Math.max(needed, old.length * 2, 64));
    this.#buffer.set(old.subarray(0, this.#length));
    old.fill(0);
  }
}

/** A magnitude without leading zero bytes, as a view. */
export function trimZeros<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
  let at = 0;
  while (at < bytes.length && bytes[at] === 0) at++;
  return bytes.subarray(at) as Bytes;
}

/** Whether one magnitude is less than another. */
export function isLess(one: Uint8Array, other: Uint8Array): boolean {
  const [left, right] = [trimZeros(one), trimZeros(other)];
  if (left.length !== right.length) return left.length < right.length;
  return Buffer.compare(left, right) < 0;
}

/** Reads `string`s up to the end of `bytes`. */
export function readStrings(bytes: Uint8Array): Buffer[] {
  const reader = new Reader(bytes);
  const strings: Buffer[] = [];
  while (reader.remaining > 0) strings.push(reader.string());
  return strings;
}
