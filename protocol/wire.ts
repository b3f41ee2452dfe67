/**
 * The data types of RFC 4251, section 5, read from and written to bytes.
 *
 * A `Reader` checks every length before it believes it and throws `Failure` ("malformed") when a
 * value does not fit. What it returns are views of the bytes it was given, not copies, so they live
 * as long as those do.
 */
import { Failure, malformed } from "./failure.ts";
import { decodeText, encodeText } from "./text.ts";

const empty = Buffer.alloc(0);

/** The longest integer accepted: 16384 bits, as in OpenSSH, and a byte for the sign. */
const maxIntegerLength = 2049;

/** Reads values one after another from a run of bytes. */
export class Reader {
  readonly #bytes: Buffer;
  #at: number;

  /** @param bytes the whole of what is to be read */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = 0;
  }

  /** Bytes not read yet. */
  get remaining(): number {
    return this.#bytes.length - this.#at;
  }

  /** `byte`: 0 to 255. */
  byte(): number {
    if (this.remaining < 1) throw malformed("The message ends before a byte.");
    return this.#bytes[this.#at++] as number;
  }

  /** `boolean`: a byte; anything but 0 is true. */
  bool(): boolean {
    return this.byte() !== 0;
  }

  /** `uint32`: four bytes, most significant first. */
  uint32(): number {
    if (this.remaining < 4) throw malformed("The message ends within a uint32.");
    const value = this.#bytes.readUInt32BE(this.#at);
    this.#at += 4;
    return value;
  }

  /** `uint64`: eight bytes, most significant first. */
  uint64(): bigint {
    if (this.remaining < 8) throw malformed("The message ends within a uint64.");
    const value = this.#bytes.readBigUInt64BE(this.#at);
    this.#at += 8;
    return value;
  }

  /** `string`: a uint32 length, then that many bytes, which are returned as a view. */
  string(): Buffer {
    const length = this.uint32();
    if (length > this.remaining) throw malformed("A string is longer than its message.");
    return this.bytes(length);
  }

  /** `string` that people read; see text.ts for bytes that are no UTF-8. */
  text(): string {
    return decodeText(this.string());
  }

  /**
   * `string` that OpenSSH holds as a C string: text without NUL, but for one at its end, which is
   * left out. A list of identities with any other NUL in it is unreadable for OpenSSH's clients.
   */
  cString(): string {
    const bytes = this.string();
    const end = bytes.indexOf(0);
    if (end >= 0 && end < bytes.length - 1) {
      throw new Failure("malformed", "A text holds a NUL.", "Leave it out: OpenSSH reads none.");
    }
    return decodeText(end < 0 ? bytes : bytes.subarray(0, end));
  }

  /** `string` that names something in US-ASCII: an algorithm, an extension. */
  name(): string {
    const bytes = this.string();
    for (const byte of bytes) {
      if (byte <= 0x20 || byte >= 0x7f)
        throw malformed("A name holds more than printable US-ASCII.");
    }
    return bytes.toString("latin1");
  }

  /**
   * `mpint` that is not negative: its magnitude, most significant byte first, without leading
   * zeros; zero is empty.
   */
  mpint(): Buffer {
    const bytes = this.string();
    const isTooLong = bytes.length === maxIntegerLength && bytes[0] !== 0;
    if (bytes.length > maxIntegerLength || isTooLong) throw malformed("An integer is too long.");
    if (bytes.length > 0 && (bytes[0] as number) >= 0x80)
      throw malformed("An integer is negative.");
    return trimZeros(bytes);
  }

  /** The next `length` bytes as they stand, as a view. */
  bytes(length: number): Buffer {
    if (length > this.remaining) throw malformed("The message ends too early.");
    const start = this.#at;
    this.#at += length;
    return this.#bytes.subarray(start, this.#at);
  }

  /** All that is left, as a view. */
  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  /** Throws unless everything has been read. */
  end(): void {
    if (this.remaining > 0) throw malformed("Bytes follow the end of the message.");
  }
}

/** Writes values one after another; `finish` gives the bytes. */
export class Writer {
  #buffer: Buffer;
  #length = 0;

  /** @param capacity bytes to set aside at once; it grows by itself */
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

  /** `string` of text or of a name. */
  text(value: string): this {
    return this.string(encodeText(value));
  }

  /** `mpint` from the magnitude of a number that is not negative, most significant byte first. */
  mpint(magnitude: Uint8Array): this {
    const trimmed = trimZeros(magnitude);
    const padded = trimmed.length > 0 && (trimmed[0] as number) >= 0x80;
    this.uint32(trimmed.length + (padded ? 1 : 0));
    if (padded) this.byte(0);
    return this.bytes(trimmed);
  }

  /** Bytes as they stand. */
  bytes(value: Uint8Array): this {
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  /** What was written, as a view; the writer must not be used afterwards. */
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

/** A magnitude without its leading zero bytes, as a view. */
export function trimZeros<Bytes extends Uint8Array>(bytes: Bytes): Bytes {
  let at = 0;
  while (at < bytes.length && bytes[at] === 0) at++;
  return bytes.subarray(at) as Bytes;
}

/** Whether a magnitude is less than another. */
export function isLess(one: Uint8Array, other: Uint8Array): boolean {
  const [left, right] = [trimZeros(one), trimZeros(other)];
  if (left.length !== right.length) return left.length < right.length;
  return Buffer.compare(left, right) < 0;
}

/** Reads `string`s to the end of `bytes`. */
export function readStrings(bytes: Uint8Array): Buffer[] {
  const reader = new Reader(bytes);
  const strings: Buffer[] = [];
  while (reader.remaining > 0) strings.push(reader.string());
  return strings;
}
