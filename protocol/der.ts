/**
 * The little of DER (X.690) that keys need on their way into `node:crypto`.
 *
 * Values may be secrets: what is made on the way is overwritten, and the result is the caller's to
 * overwrite.
 */
import { secretBytes } from "./secret-bytes.ts";

/** INTEGER, from the magnitude of a number that is not negative, most significant byte first. */
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

/** SEQUENCE of what is encoded already. */
export function derSequence(parts: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(parts);
  const sequence = derTagged(0x30, content);
  content.fill(0);
  return sequence;
}

/** Tag, length, content; lengths up to 65535. */
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
