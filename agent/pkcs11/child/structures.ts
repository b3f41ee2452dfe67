/** The structures of PKCS#11 in memory: CK_ULONG, lists of handles, templates (PKCS#11 v3.0, section 3). */
import { endianness } from "node:os";
import { loadKoffi } from "../../../openssh/add-ons.ts";

const koffi = loadKoffi();

/** The length of a CK_ULONG and of a pointer, in bytes. */
export const wordLength = koffi.sizeof("void *");
const word = wordLength;

/** CK_UNAVAILABLE_INFORMATION. */
const unavailable = 2n ** BigInt(8 * word) - 1n;

/** A template: an array of CK_ATTRIBUTE, and behind it the values to which it points. */
export class Template {
  readonly bytes: Buffer;
  /** The values, of the length that they had at first. */
  readonly #values: readonly (Buffer | undefined)[];

  /** @param lengths of the values; undefined for an attribute without one */
  constructor(types: readonly number[], lengths: readonly (number | undefined)[] = []) {
    const sizes = types.map((_, at) => Math.ceil((lengths[at] ?? 0) / word) * word);
    let end = types.length * 3 * word;
    this.bytes = Buffer.alloc(sizes.reduce((sum, size) => sum + size, end));
    const address = koffi.address(this.bytes);
    this.#values = types.map((type, at) => {
      const length = lengths[at];
      writeUlong(this.bytes, 3 * at, type);
      if (length === undefined) return undefined;
      const value = this.bytes.subarray(end, end + length);
      if (length > 0) writeUlong(this.bytes, 3 * at + 1, address + BigInt(end));
      writeUlong(this.bytes, 3 * at + 2, length);
      end += sizes[at] ?? 0;
      return value;
    });
  }

  /** The lengths that the library has written; undefined for CK_UNAVAILABLE_INFORMATION. */
  get lengths(): (number | undefined)[] {
    return this.#values.map((_, at) => this.#length(at));
  }

  #length(at: number): number | undefined {
    const length = ulongAt(this.bytes, 3 * at + 2);
    return length === unavailable ? undefined : Number(length);
  }

  /** Sets a value of the length that it had at first. */
  set(at: number, value: Buffer): void {
    this.#values[at]?.set(value);
  }

  /** The value of an attribute; "too-long" if it does not fit. */
  value(at: number): Buffer | "too-long" | undefined {
    const [value, length] = [this.#values[at], this.#length(at)];
    if (value === undefined || length === undefined) return undefined;
    if (length > value.length) return "too-long";
    return value.subarray(0, length);
  }
}

/** A template with values. */
export function filledTemplate(
  attributes: readonly [type: number, value: Buffer | undefined][],
): Template {
  const types = attributes.map(([type]) => type);
  const lengths = attributes.map(([, value]) => value?.length);
  const template = new Template(types, lengths);
  for (const [at, [, value]] of attributes.entries()) if (value) template.set(at, value);
  return template;
}

/** An attribute's value; a number is a CK_ULONG, a boolean a CK_BBOOL. */
export function toBytes(value: number | boolean | Buffer): Buffer {
  if (Buffer.isBuffer(value)) return value;
  if (typeof value === "boolean") return Buffer.of(Number(value));
  const bytes = Buffer.alloc(word);
  writeUlong(bytes, 0, value);
  return bytes;
}

/** The handles in a list. @param count as the library has written it */
export function splitList(list: Buffer, count: Buffer): Buffer[] {
  const [room, written] = [list.length / word, ulongAt(count)];
  const length = written < room ? Number(written) : room;
  return Array.from({ length }, (_, at) => list.subarray(at * word, (at + 1) * word));
}

/** Reads the CK_ULONG at an index, in native byte order. */
export function ulongAt(bytes: Buffer, at = 0): bigint {
  const view = viewOf(bytes);
  return word === 8
    ? view.getBigUint64(at * 8, isLittle)
    : BigInt(view.getUint32(at * 4, isLittle));
}

/** Reads the CK_FLAGS at an index; all CKF_ flags have 32 bits. */
export function readFlags(bytes: Buffer, at: number): number {
  return Number(BigInt.asUintN(32, ulongAt(bytes, at)));
}

/** Writes a CK_ULONG or a pointer at an index, in native byte order. */
export function writeUlong(bytes: Buffer, at: number, value: number | bigint): void {
  const view = viewOf(bytes);
  if (word === 8) view.setBigUint64(at * 8, BigInt(value), isLittle);
  else view.setUint32(at * 4, Number(value), isLittle);
}

const isLittle = endianness() === "LE";

function viewOf({ buffer, byteOffset, length }: Buffer): DataView {
  return new DataView(buffer, byteOffset, length);
}

/** Text of a fixed length. */
export function readText(bytes: Buffer, at: number, length: number): string {
  return bytes.toString("utf8", at, at + length);
}
