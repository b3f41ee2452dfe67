/** Percent-encoding (RFC 3986, section 2.1). */
import { Failure } from "../protocol/failure.ts";
import { encodeText } from "../protocol/text.ts";

/** A set of ASCII codes. */
export type Characters = ReadonlySet<number>;

const percent = 0x25;

export function charactersOf(text: string): Characters {
  return new Set(Buffer.from(text, "latin1"));
}

/** The unreserved characters of URIs (RFC 3986, section 2.3). */
export const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";

/**
 * Decodes a percent-encoded text.
 * @param literal the characters that may appear unescaped
 * @throws {Failure} malformed, for an invalid escape or another character
 */
export function decodePercent(text: string, literal: Characters): Buffer {
  const bytes = Buffer.allocUnsafe(text.length);
  let length = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === percent) {
      bytes[length++] = escapedByte(text, at);
      at += 2;
    } else if (literal.has(code)) bytes[length++] = code;
    else throw notAllowed(text, at);
  }
  return bytes.subarray(0, length);
}

/**
 * Percent-encodes bytes, with upper-case hexadecimal digits; `decodePercent` inverts it.
 * @param literal the characters to leave unescaped, without `%`
 */
export function encodePercent(bytes: Uint8Array, literal: Characters): string {
  let text = "";
  for (const byte of bytes) {
    text += literal.has(byte)
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return text;
}

function escapedByte(text: string, at: number): number {
  const digits = text.slice(at + 1, at + 3);
  if (/^[0-9A-Fa-f]{2}$/.test(digits)) return Number.parseInt(digits, 16);
  const hint = "Two hexadecimal digits follow each %; write %25 for % itself.";
  throw new Failure("malformed", "Invalid percent-encoding in the URI.", hint);
}

function notAllowed(text: string, at: number): Failure {
  const symbol = String.fromCodePoint(text.codePointAt(at) ?? 0);
  const encoded = encodePercent(encodeText(symbol), new Set());
  const sentence = `The character ${JSON.stringify(symbol)} must be percent-encoded in the URI.`;
  return new Failure("malformed", sentence, `Write it as ${encoded}.`);
}
