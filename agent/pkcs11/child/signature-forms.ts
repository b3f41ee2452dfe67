/**
 * The forms in which tokens return signatures. PKCS#11 v3.0 (sections 2.1.9 and 2.3.1) fixes the
 * lengths; older versions and some libraries do not. The caller verifies what is read here, so a
 * form may be guessed.
 */
import { curves, type PublicKey } from "../../../protocol/public-key.ts";
import { padLeft } from "../../../protocol/signature.ts";
import { trimZeros } from "../../../protocol/wire.ts";

/** The most bytes that r and s may lack together: a random one of more is not to be expected. */
const maxTrimmed = 8;

/** The length of a key's signatures, in bytes. */
export function signatureLength(key: PublicKey): number {
  if (key.type === "rsa") return key.n.length;
  return key.type === "ecdsa" ? 2 * curves[key.curve].bytes : 64;
}

/**
 * What a token's output may mean, the likeliest first, in the form of `encodeSignature`.
 * @param output of C_Sign
 */
export function* signatureForms(key: PublicKey, output: Buffer): Generator<Buffer> {
  const length = signatureLength(key);
  if (output.length === length) yield output;
  else if (key.type === "rsa") yield* joined([output], length);
  if (key.type === "ecdsa") yield* ecdsaForms(output, length / 2);
  // Some libraries report the length of the buffer, or more than they wrote.
  if (output.length > length) yield output.subarray(0, length);
}

/** @param width the length of r and of s */
function* ecdsaForms(output: Buffer, width: number): Generator<Buffer> {
  const integers = readSequence(output);
  if (integers !== undefined) yield* joined(integers, width);
  const missing = 2 * width - output.length;
  if (missing < 0 && output.length % 2 === 0)
    yield* joined(split(output, output.length / 2), width);
  if (missing <= 0 || missing > maxTrimmed) return;
  for (let at = width - missing; at <= width; at++) yield* joined(split(output, at), width);
}

type Integers = readonly [r: Buffer, s: Buffer];

function split(output: Buffer, at: number): Integers {
  return [output.subarray(0, at), output.subarray(at)];
}

/** Integers, each `width` bytes long; nothing if one is longer. */
function* joined(integers: readonly Buffer[], width: number): Generator<Buffer> {
  const trimmed = integers.map(trimZeros);
  if (trimmed.some(({ length }) => length > width)) return;
  yield Buffer.concat(trimmed.map((integer) => padLeft(integer, width)));
}

/**
 * The two INTEGERs of a SEQUENCE (RFC 3279, section 2.2.3), with any number of leading zeros or
 * none, and with anything after the SEQUENCE.
 */
function readSequence(bytes: Buffer): Integers | undefined {
  const sequence = readElement(0x30, bytes);
  const r = sequence && readElement(0x02, sequence.content);
  const s = r && readElement(0x02, r.rest);
  return r && s && [r.content, s.content];
}

/** A DER element of up to 255 bytes, and what follows it. */
function readElement(tag: number, bytes: Buffer): { content: Buffer; rest: Buffer } | undefined {
  const start = bytes[1] === 0x81 ? 3 : 2;
  const length = bytes[start - 1];
  if (bytes[0] !== tag || length === undefined || start + length > bytes.length) return undefined;
  const end = start + length;
  return { content: bytes.subarray(start, end), rest: bytes.subarray(end) };
}
