/**
 * Lossless conversion between strings on the wire and JavaScript strings.
 *
 * RFC 4251 (section 5) requires UTF-8, but comments in other encodings occur. Each byte of invalid
 * UTF-8 becomes a lone surrogate U+DC80..U+DCFF (like Python's surrogateescape), so that a client gets
 * back the bytes that it has stored.
 */
import { isUtf8 } from "node:buffer";

const firstEscape = 0xdc80;
const lastEscape = 0xdcff;

/** Decodes bytes of the wire; `encodeText` is the exact inverse. */
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

/** Encodes a string for the wire. */
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

/** The length of the well-formed UTF-8 character at `at`; 0 for invalid UTF-8. */
function wellFormedLength(bytes: Buffer, at: number): number {
  for (let length = 1; length <= 4 && at + length <= bytes.length; length++) {
    if (isUtf8(bytes.subarray(at, at + length))) return length;
  }
  return 0;
}
