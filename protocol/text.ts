/**
 * Strings of the wire as JavaScript strings, without loss.
 *
 * RFC 4251 (section 5) says that names and comments are UTF-8, yet comments in other encodings are
 * about. Bytes that are no UTF-8 become lone surrogates U+DC80..U+DCFF, one per byte, and turn back
 * into the same bytes: what a client stored is what it gets back.
 */
import { isUtf8 } from "node:buffer";

const firstEscape = 0xdc80;
const lastEscape = 0xdcff;

/** Bytes of the wire as a string; `encodeText` inverts it exactly. */
export function decodeText(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (isUtf8(buffer)) return buffer.toString("utf8");
  let text = "";
  for (let at = 0; at < buffer.length; ) {
    const length = wellFormedLength(buffer, at);
    if (length === 0) text += String.fromCharCode(0xdc00 + (buffer[at] as number));
    else text += buffer.toString("utf8", at, at + length);
    at += length || 1;
  }
  return text;
}

/** A string as bytes of the wire. */
export function encodeText(text: string): Buffer {
  if (text.isWellFormed()) return Buffer.from(text, "utf8");
  const parts: Buffer[] = [];
  for (const symbol of text) {
    const code = symbol.codePointAt(0) as number;
    const escaped = code >= firstEscape && code <= lastEscape;
    parts.push(escaped ? Buffer.of(code - 0xdc00) : Buffer.from(symbol, "utf8"));
  }
  return Buffer.concat(parts);
}

/** How many bytes at `at` make one well-formed UTF-8 character; 0 if they make none. */
function wellFormedLength(bytes: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++) {
    if (isUtf8(bytes.subarray(at, at + length))) return length;
  }
  return 0;
}
