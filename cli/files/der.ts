/**
 * The few shapes of DER that `node:crypto` exports private keys in, read as views of its buffers, so
 * that the secrets can be overwritten where they lie. (RFC 8017 A.1.2, RFC 5915, RFC 8410)
 */
import { malformed } from "../../protocol/failure.ts";
import { trimZeros } from "../../protocol/wire.ts";

const sequenceTag = 0x30;
const integerTag = 0x02;
const octetStringTag = 0x04;
const bitStringTag = 0x03;

interface Element {
  readonly tag: number;
  readonly value: Buffer;
}

/** The elements that stand one after another in `bytes`. @throws {Failure} malformed */
function readElements(bytes: Buffer): Element[] {
  const elements: Element[] = [];
  let at = 0;
  while (at < bytes.length) {
    const tag = bytes[at++] as number;
    let length = bytes[at++] ?? 0x80;
    if (length >= 0x80) {
      const width = length & 0x7f;
      if (width === 0 || width > 4 || at + width > bytes.length) throw notDer();
      length = bytes.readUIntBE(at, width);
      at += width;
    }
    if (at + length > bytes.length) throw notDer();
    elements.push({ tag, value: bytes.subarray(at, at + length) });
    at += length;
  }
  return elements;
}

/** The elements of the one sequence that `der` is. */
function readSequence(der: Buffer): Element[] {
  const [sequence] = readElements(der);
  if (sequence?.tag !== sequenceTag) throw notDer();
  return readElements(sequence.value);
}

function valueAt(elements: readonly Element[], index: number, tag: number): Buffer {
  const element = elements[index];
  if (element?.tag !== tag) throw notDer();
  return element.value;
}

/**
 * The magnitudes of an RSAPrivateKey (PKCS#1); those that an agent does not get are overwritten.
 * @throws {Failure} malformed
 */
export function readRsaPrivateKey(der: Buffer) {
  const elements = readSequence(der);
  for (const index of [6, 7]) valueAt(elements, index, integerTag).fill(0);
  const integer = (index: number) => trimZeros(valueAt(elements, index, integerTag));
  const [n, e, d] = [integer(1), integer(2), integer(3)];
  return { n, e, d, p: integer(4), q: integer(5), iqmp: integer(8) };
}

/** The scalar of an ECPrivateKey (SEC 1), as a magnitude. @throws {Failure} malformed */
export function readEcScalar(der: Buffer): Buffer {
  return trimZeros(valueAt(readSequence(der), 1, octetStringTag));
}

/** The seed of an Ed25519 key in PKCS#8. @throws {Failure} malformed */
export function readEd25519Seed(der: Buffer): Buffer {
  const wrapped = valueAt(readSequence(der), 2, octetStringTag);
  const seed = valueAt(readElements(wrapped), 0, octetStringTag);
  if (seed.length !== 32) throw notDer();
  return seed;
}

/** The numbers of a DSA key in PKCS#8 (RFC 3279, section 2.3.2). @throws {Failure} malformed */
export function readDsaPrivateKey(der: Buffer) {
  const elements = readSequence(der);
  const parameters = readElements(valueAt(elements, 1, sequenceTag))[1];
  if (parameters?.tag !== sequenceTag) throw notDer();
  const numbers = readElements(parameters.value);
  const [p, q, g] = [0, 1, 2].map((index) => trimZeros(valueAt(numbers, index, integerTag)));
  const x = valueAt(readElements(valueAt(elements, 2, octetStringTag)), 0, integerTag);
  if (p === undefined || q === undefined || g === undefined) throw notDer();
  return { p, q, g, x: trimZeros(x) };
}

/** The public number of a DSA key in SubjectPublicKeyInfo. @throws {Failure} malformed */
export function readDsaPublicNumber(der: Buffer): Buffer {
  const bits = valueAt(readSequence(der), 1, bitStringTag).subarray(1);
  return trimZeros(valueAt(readElements(bits), 0, integerTag));
}

function notDer() {
  return malformed("A private key is not in the form that it should be.");
}
