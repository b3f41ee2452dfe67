/**
 * The DER (X.690) that `node:crypto` needs to import keys.
 *
 * Values may be secrets: these functions overwrite their intermediate buffers, and the caller overwrites
 * the result.
 */
import { secretBytes } from "./secret-bytes.ts";

/** INTEGER, from the magnitude of a non-negative integer, big-endian. */
export function derInteger(magnitude: Uint8Array): Buffer {
  let start = 0;
  while (start < magnitude.length - 1 && magnitude[start] === 0) start++;
  const trimmed = magnitude.subarray(start);
  if ((trimmed[0] ?? 0) < 0x80) return derTagged(0x02, trimmed);
  const padded = secretBytes(trimmed.length + 1);
  padded.set(trimmed, 1);
  const integer = derTagged(0x02, padded);
  padded.fill(0);
  return integer;
}

/** SEQUENCE of encoded elements. */
export function derSequence(parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const sequence = derTagged(0x30, content);
  content.fill(0);
  return sequence;
}

/** Tag, length and content of up to 65535 bytes. */
export function derTagged(tag: number, content: Uint8Array): Buffer {
  const { length } = content;
  const head =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(head), content]);
}
