/**
 * The little of DER (X.690) that private key files need, read as views of their bytes, so that the
 * secrets can be overwritten where they lie.
 */
import { trimZeros } from "../../protocol/wire.ts";
import { damaged } from "./loaded-key.ts";

/** The tags that occur. */
export const tags = {
  integer: 0x02,
  bitString: 0x03,
  octetString: 0x04,
  oid: 0x06,
  sequence: 0x30,
  /** Context tags, of which the first may hold one value or many. */
  first: 0xa0,
  second: 0xa1,
  secondPrimitive: 0x81,
} as const;

/** One element: its tag, its content, and all of it. */
interface Element {
  readonly tag: number;
  readonly value: Buffer;
  readonly whole: Buffer;
}

/** Elements that stand one after another. */
export class Elements {
  readonly #elements: Element[];

  /** @throws {KeyFileError} unless they fill `bytes` */
  constructor(bytes: Buffer) {
    this.#elements = split(bytes);
  }

  /** The elements of the one SEQUENCE that `der` is. @throws {KeyFileError} */
  static ofSequence(der: Buffer): Elements {
    const outer = new Elements(der);
    const inner = outer.next(tags.sequence);
    outer.end();
    return new Elements(inner);
  }

  /** The content of the next element. @throws {KeyFileError} unless it has this tag */
  next(tag: number): Buffer {
    const value = this.optional(tag);
    if (value === undefined) throw damaged();
    return value;
  }

  /** The content of the next element, if it has this tag; else it stays the next one. */
  optional(tag: number): Buffer | undefined {
    if (this.#elements[0]?.tag !== tag) return undefined;
    return this.#elements.shift()?.value;
  }

  /** The next element, whatever its tag is. */
  any(): Element | undefined {
    return this.#elements.shift();
  }

  /** The elements of the SEQUENCE that is next. */
  sequence(): Elements {
    return new Elements(this.next(tags.sequence));
  }

  /** The magnitude of an INTEGER that is not negative, most significant byte first. */
  integer(): Buffer {
    const value = this.next(tags.integer);
    if (value.length === 0 || (value[0] as number) >= 0x80) throw damaged();
    return trimZeros(value);
  }

  /** An INTEGER that is not a secret, up to 2^48. */
  number(): number {
    const magnitude = this.integer();
    if (magnitude.length > 6) return Number.POSITIVE_INFINITY;
    return magnitude.length === 0 ? 0 : magnitude.readUIntBE(0, magnitude.length);
  }

  /** An OBJECT IDENTIFIER in its numbers and dots. */
  oid(): string {
    return oidText(this.next(tags.oid));
  }

  /** The bytes of a BIT STRING that is whole bytes. */
  bits(): Buffer {
    return wholeBytes(this.next(tags.bitString));
  }

  /** @throws {KeyFileError} when something follows */
  end(): void {
    if (this.#elements.length > 0) throw damaged();
  }
}

/** The content of a BIT STRING without the byte that counts unused bits. */
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
    elements.push({ tag, value: bytes.subarray(at, end), whole: bytes.subarray(start, end) });
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
