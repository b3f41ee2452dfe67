/** Pseudorandom polynomials of ML-DSA-44 (FIPS 204, section 7.3), hashes, and packed coefficients. */
import { createHash } from "node:crypto";
import { type Coefficients, canonical, degree, newVector, q, rank } from "./ml-dsa-ring.ts";

const tau = 39;
export const beta = 2 * tau;
export const gamma1 = 1 << 17;

/** The bits of a packed coefficient of t₁, w₁ and z. */
export const bitsOf = { t1: 10, w1: 6, z: 18 };

/** ExpandA (algorithms 30 and 32). */
export function expandMatrix(rho: Uint8Array): Coefficients {
  const matrix = new Int32Array(rank * rank * degree);
  for (let entry = 0; entry < rank * rank; entry++) {
    const polynomial = matrix.subarray(entry * degree, (entry + 1) * degree);
    const place = Buffer.of(entry % rank, Math.floor(entry / rank));
    squeeze("shake128", 5 * 168, [rho, place], (bytes) => {
      let count = 0;
      for (let at = 0; at + 3 <= bytes.length && count < degree; at += 3) {
        const value = bytes.readUIntLE(at, 3) & 0x7fffff;
        if (value < q) polynomial[count++] = value;
      }
      return count === degree;
    });
  }
  return matrix;
}

/** ExpandS (algorithms 31 and 33): coefficients from -2 to 2. */
export function smallVector(seed: Buffer, firstNonce: number): Coefficients {
  const vector = newVector();
  for (let row = 0; row < rank; row++) {
    const polynomial = vector.subarray(row * degree, (row + 1) * degree);
    squeeze("shake256", 2 * 136, [seed, uint16(firstNonce + row)], (bytes) => {
      let count = 0;
      for (let at = 0; at < 2 * bytes.length && count < degree; at++) {
        const value = ((bytes[at >> 1] as number) >> (4 * (at & 1))) & 15;
        if (value < 15) polynomial[count++] = canonical(2 - (value % 5));
      }
      return count === degree;
    });
  }
  return vector;
}

/** ExpandMask (algorithm 34). */
export function maskVector(seed: Buffer, nonce: number): Coefficients {
  const vector = newVector();
  for (let row = 0; row < rank; row++) {
    const bytes = shake("shake256", (degree * bitsOf.z) / 8, [seed, uint16(nonce + row)]);
    unpack(bytes, bitsOf.z, vector.subarray(row * degree, (row + 1) * degree));
    bytes.fill(0);
  }
  for (let at = 0; at < vector.length; at++)
    vector[at] = canonical(gamma1 - (vector[at] as number));
  return vector;
}

/** SampleInBall (algorithm 29). */
export function sampleInBall(hash: Uint8Array): Coefficients {
  const polynomial = new Int32Array(degree);
  squeeze("shake256", 136, [hash], (bytes) => {
    polynomial.fill(0);
    let next = 8;
    for (let at = degree - tau, sign = 0; at < degree; at++, sign++) {
      while (next < bytes.length && (bytes[next] as number) > at) next++;
      const place = bytes[next++];
      if (place === undefined) return false;
      polynomial[at] = polynomial[place] as number;
      const isNegative = ((bytes[sign >> 3] as number) >> (sign & 7)) & 1;
      polynomial[place] = isNegative ? q - 1 : 1;
    }
    return true;
  });
  return polynomial;
}

type Shake = "shake128" | "shake256";

/** Bytes of a hash, which are to be wiped if they are secret. */
export function shake(
  algorithm: Shake,
  outputLength: number,
  parts: readonly Uint8Array[],
): Buffer {
  const hash = createHash(algorithm, { outputLength });
  for (const part of parts) hash.update(part);
  return hash.digest();
}

/** Gives `take` the first bytes of a hash, and twice as many each time that it needs more. */
function squeeze(
  algorithm: Shake,
  length: number,
  parts: readonly Uint8Array[],
  take: (bytes: Buffer) => boolean,
): void {
  for (let count = length; ; count *= 2) {
    const bytes = shake(algorithm, count, parts);
    const isEnough = take(bytes);
    bytes.fill(0);
    if (isEnough) return;
  }
}

function uint16(value: number): Buffer {
  return Buffer.of(value & 0xff, value >> 8);
}

/** SimpleBitPack (algorithm 16) of values of `bits` bits. */
export function pack(values: Coefficients, bits: number): Buffer {
  const bytes = Buffer.alloc((values.length * bits) / 8);
  let [pending, count, at] = [0, 0, 0];
  for (const value of values) {
    pending |= value << count;
    for (count += bits; count >= 8; count -= 8, pending >>>= 8) bytes[at++] = pending & 0xff;
  }
  return bytes;
}

/** The inverse of `pack`. */
export function unpack(bytes: Uint8Array, bits: number, values: Coefficients): void {
  let [pending, count, at] = [0, 0, 0];
  for (const byte of bytes) {
    pending |= byte << count;
    for (count += 8; count >= bits; count -= bits, pending >>>= bits) {
      values[at++] = pending & ((1 << bits) - 1);
    }
  }
}
