/**
 * A reader for the subset of DER (X.690) in private key files. It returns views, so that secrets can
 * be overwritten in place.
 */
import { trimZeros } from "../../protocol/wire.ts";
import { damaged } from "./loaded-key.ts";

export const tags = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
  context0: 0xa0,
  context1: 0xa1,
  context1Primitive: 0x81,
} as const;

interface Element {
  readonly tag: number;
  readonly value: Buffer;
  /** Tag, length and value. */
  readonly encoded: Buffer;
}

/** Reads consecutive elements. */
export class Elements {
  readonly #elements: Element[];

  /** @throws {KeyFileError} unless `bytes` is exactly a series of elements */
  constructor(bytes: Buffer) {
    this.#elements = split(bytes);
  }

  /** The elements of a SEQUENCE. @throws {KeyFileError} unless `der` is exactly one */
  static ofSequence(der: Buffer): Elements {
    const outer = new Elements(der);
    const inner = outer.next(tags.sequence);
    outer.end();
    return new Elements(inner);
  }

  /** Takes the value of the next element. @throws {KeyFileError} unless it has this tag */
  next(tag: number): Buffer {
    const value = this.optional(tag);
    if (value === undefined) throw damaged();
    return value;
  }

  /** Takes the value of the next element, if it has this tag. */
  optional(tag: number): Buffer | undefined {
    if (this.#elements[0]?.tag !== tag) return undefined;
    return this.#elements.shift()?.value;
  }

  /** Takes the next element with any tag. */
  any(): Element | undefined {
    return this.#elements.shift();
  }

  /** Takes the elements of the next SEQUENCE. */
  sequence(): Elements {
    return new Elements(this.next(tags.sequence));
  }

  /** Takes the big-endian magnitude of a non-negative INTEGER. */
  integer(): Buffer {
    const value = this.next(tags.integer);
    if (value.length === 0 || (value[0] as number) >= 0x80) throw damaged();
    return trimZeros(value);
  }

  /** Takes a non-secret INTEGER; infinity for more than 48 bits. */
  number(): number {
    const magnitude = this.integer();
    if (magnitude.length > 6) return Number.POSITIVE_INFINITY;
    return magnitude.length === 0 ? 0 : magnitude.readUIntBE(0, magnitude.length);
  }

  /** Takes an OBJECT IDENTIFIER in dotted notation. */
  oid(): string {
    return oidText(this.next(tags.oid));
  }

  /** Takes a BIT STRING of whole bytes. */
  bits(): Buffer {
    return wholeBytes(this.next(tags.bitString));
  }

  /** @throws {KeyFileError} if an element is left */
  end(): void {
    if (this.#elements.length > 0) throw damaged();
  }
}

/** The value of a BIT STRING without the count of unused bits, which must be 0. */
export function wholeBytes(bitString: Buffer): Buffer {
  if (bitString[0] !== 0) throw damaged();
  return bitString.subarray(1);
}

function split(bytes: Buffer): Element[] {
  const elements: Element[] = [];
  let at = 0;
  while (at < bytes.length) {
    const start = at;
    const tag = bytes[at++] as number;
    let length = bytes[at++] ?? 0x80;
    if (length >= 0x80) {
      const width = length & 0x7f;
      if (width === 0 || width > 4 || at + width > bytes.length) throw damaged();
      length = bytes.readUIntBE(at, width);
      at += width;
    }
    const end = at + length;
    if (end > bytes.length) throw damaged();
    elements.push({ tag, value: bytes.subarray(at, end), encoded: bytes.subarray(start, end) });
    at = end;
  }
  return elements;
}

function oidText(bytes: Buffer): string {
  const numbers: number[] = [];
  let number = 0;
  for (const byte of bytes) {
    number = number * 128 + (byte & 0x7f);
    if (byte >= 0x80) continue;
    numbers.push(number);
    number = 0;
  }
  const [both = 0, ...rest] = numbers;
  const first = Math.min(2, Math.floor(both / 40));
  return [first, both - 40 * first, ...rest].join(".");
}
