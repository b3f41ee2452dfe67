/**
 * ML-DSA-44 (FIPS 204): expanding a seed, signing, verifying.
 *
 * OpenSSL has it from 3.5 on, Node.js from 24 on. `@noble/post-quantum`, with which the tests compare
 * byte by byte, needs ten times as long as this, and leaves parts of the private key in freed memory.
 * Here every array with a secret is overwritten, and none is so small that V8 would move it.
 *
 * Coefficients are in [0, q) unless a comment says otherwise. A vector is its polynomials one after the
 * other, the matrix its rows. No branch and no index depends on a secret, except where FIPS 204 rejects
 * a candidate.
 */
import { createHash, randomFillSync } from "node:crypto";
import { mlDsaLengths } from "./public-key.ts";
import { secretBytes } from "./secret-bytes.ts";

// Section 4. The matrix has as many rows as columns.
const q = 8380417;
const degree = 256;
const rank = 4;
const tau = 39;
const beta = 78;
const gamma1 = 1 << 17;
const gamma2 = (q - 1) / 88;
const omega = 80;
const droppedBits = 13;
/** The number of values that `highBits` has. */
const highValues = 44;

/** The bits of a packed coefficient of t₁, w₁ and z. */
const bitsOf = { t1: 10, w1: 6, z: 18 };
const rhoLength = 32;
const hashLength = 64;
const challengeLength = 32;
const hintAt = challengeLength + (rank * degree * bitsOf.z) / 8;

type Coefficients = Int32Array<ArrayBuffer>;
const newVector = (): Coefficients => new Int32Array(rank * degree);

/** A private key that is ready to sign. All but the matrix is to be wiped. */
export interface MlDsaSecret {
  /** Â, which the public key determines. */
  readonly matrix: Coefficients;
  /** tr, the hash of the public key. */
  readonly publicKeyHash: Buffer;
  /** K, one of the sources of a signature's randomness. */
  readonly signingSeed: Buffer;
  /** The transforms of s₁, s₂ and t₀. */
  readonly s1: Coefficients;
  readonly s2: Coefficients;
  readonly t0: Coefficients;
}

/** ML-DSA.KeyGen_internal (algorithm 6). @param seed 32 bytes @returns a secret that the caller wipes */
export function expandMlDsaSeed(seed: Uint8Array): { publicKey: Buffer; secret: MlDsaSecret } {
  const expanded = shake("shake256", 128, [seed, Buffer.of(rank, rank)]);
  const rho = Buffer.from(expanded.subarray(0, rhoLength));
  const smallSeed = expanded.subarray(rhoLength, rhoLength + hashLength);
  const signingSeed = secretBytes(32);
  signingSeed.set(expanded.subarray(rhoLength + hashLength));
  const [s1, s2] = [smallVector(smallSeed, 0), smallVector(smallSeed, rank)];
  expanded.fill(0);
  const matrix = expandMatrix(rho);
  toNtt(s1);
  const t = matrixProduct(matrix, s1);
  fromNtt(t);
  const [t0, t1] = [newVector(), newVector()];
  for (let at = 0; at < t.length; at++) {
    // Power2Round (algorithm 35)
    const value = plus(t[at] as number, s2[at] as number);
    const high = (value + (1 << (droppedBits - 1)) - 1) >> droppedBits;
    t1[at] = high;
    t0[at] = minus(value, high << droppedBits);
  }
  t.fill(0);
  toNtt(s2);
  toNtt(t0);
  const publicKey = Buffer.concat([rho, pack(t1, bitsOf.t1)]);
  const publicKeyHash = shake("shake256", hashLength, [publicKey]);
  return { publicKey, secret: { matrix, publicKeyHash, signingSeed, s1, s2, t0 } };
}

/** The public key for a seed. */
export function mlDsaPublicKey(seed: Uint8Array): Buffer {
  const { publicKey, secret } = expandMlDsaSeed(seed);
  wipeMlDsaSecret(secret);
  return publicKey;
}

/** Overwrites a private key. */
export function wipeMlDsaSecret({ matrix: _, ...secret }: MlDsaSecret): void {
  for (const array of Object.values(secret)) array.fill(0);
}

/**
 * ML-DSA.Sign (algorithms 2 and 7).
 * @param context at most 255 bytes
 * @param random 32 bytes, which are overwritten; fresh ones make the signature hedged, as OpenSSH's are
 */
export function mlDsaSign(
  secret: MlDsaSecret,
  message: Uint8Array,
  context: Uint8Array,
  random: Uint8Array = randomFillSync(secretBytes(32)),
): Buffer {
  const digest = messageHash(secret.publicKeyHash, message, context);
  const maskSeed = shake("shake256", hashLength, [secret.signingSeed, random, digest]);
  random.fill(0);
  try {
    for (let nonce = 0; ; nonce += rank) {
      const signature = trySigning(secret, digest, maskSeed, nonce);
      if (signature !== undefined) return signature;
    }
  } finally {
    maskSeed.fill(0);
  }
}

/** Lines 11 to 33 of algorithm 7; undefined for a candidate that is rejected, as three of four are. */
function trySigning(
  { matrix, s1, s2, t0 }: MlDsaSecret,
  digest: Buffer,
  maskSeed: Buffer,
  nonce: number,
): Buffer | undefined {
  const used: Coefficients[] = [];
  const wipedLater = (values: Coefficients) => {
    used.push(values);
    return values;
  };
  try {
    const y = wipedLater(maskVector(maskSeed, nonce));
    const yNtt = wipedLater(y.slice());
    toNtt(yNtt);
    const w = wipedLater(matrixProduct(matrix, yNtt));
    fromNtt(w);
    const w1 = wipedLater(w.map(highBits));
    const challengeHash = hashCommitment(digest, w1);
    const challenge = wipedLater(sampleInBall(challengeHash));
    toNtt(challenge);
    const z = wipedLater(product(s1, challenge));
    for (let at = 0; at < z.length; at++) z[at] = plus(z[at] as number, y[at] as number);
    if (exceeds(z, gamma1 - beta)) return undefined;
    const cs2 = wipedLater(product(s2, challenge));
    for (let at = 0; at < w.length; at++) w[at] = minus(w[at] as number, cs2[at] as number);
    if (exceeds(wipedLater(w.map(lowBits)), gamma2 - beta)) return undefined;
    const ct0 = wipedLater(product(t0, challenge));
    if (exceeds(ct0, gamma2)) return undefined;
    const hints = packHints((at) => highBits(plus(w[at] as number, ct0[at] as number)) !== w1[at]);
    if (hints === undefined) return undefined;
    const packed = z.map((value) => gamma1 - centered(value));
    return Buffer.concat([challengeHash, pack(packed, bitsOf.z), hints]);
  } finally {
    for (const values of used) values.fill(0);
  }
}

/** ML-DSA.Verify (algorithms 3 and 8). A key or signature of another length is invalid. */
export function mlDsaVerify(
  publicKey: Uint8Array,
  message: Uint8Array,
  context: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (publicKey.length !== mlDsaLengths.publicKey) return false;
  if (signature.length !== mlDsaLengths.signature) return false;
  const hints = unpackHints(signature.subarray(hintAt));
  if (hints === undefined) return false;
  const z = newVector();
  unpack(signature.subarray(challengeLength, hintAt), bitsOf.z, z);
  for (let at = 0; at < z.length; at++) z[at] = canonical(gamma1 - (z[at] as number));
  if (exceeds(z, gamma1 - beta)) return false;
  toNtt(z);
  const t1 = newVector();
  unpack(publicKey.subarray(rhoLength), bitsOf.t1, t1);
  for (let at = 0; at < t1.length; at++) t1[at] = (t1[at] as number) << droppedBits;
  toNtt(t1);
  const challengeHash = signature.subarray(0, challengeLength);
  const challenge = sampleInBall(challengeHash);
  toNtt(challenge);
  const w = matrixProduct(expandMatrix(publicKey.subarray(0, rhoLength)), z);
  for (let at = 0; at < w.length; at++) {
    const part = times(challenge[at % degree] as number, t1[at] as number);
    w[at] = minus(w[at] as number, part);
  }
  fromNtt(w);
  const w1 = w.map((value, at) => useHint(hints[at] as number, value));
  const publicKeyHash = shake("shake256", hashLength, [publicKey]);
  const digest = messageHash(publicKeyHash, message, context);
  return hashCommitment(digest, w1).equals(challengeHash);
}

/** μ: line 6 of algorithm 7, over M′ of algorithm 2. */
function messageHash(publicKeyHash: Buffer, message: Uint8Array, context: Uint8Array): Buffer {
  if (context.length > 255) throw new RangeError("an ML-DSA context of more than 255 bytes");
  const prefix = Buffer.of(0, context.length);
  return shake("shake256", hashLength, [publicKeyHash, prefix, context, message]);
}

function hashCommitment(digest: Buffer, w1: Coefficients): Buffer {
  return shake("shake256", challengeLength, [digest, pack(w1, bitsOf.w1)]);
}

// Arithmetic modulo q

const inverseOfQ = 1 / q;

/** A difference in (-q, q) to [0, q). */
function canonical(value: number): number {
  return value + (q & (value >> 31));
}

function plus(a: number, b: number): number {
  return canonical(a + b - q);
}

function minus(a: number, b: number): number {
  return canonical(a - b);
}

/** The quotient of doubles is exact, or one too small where q divides the product. */
function times(a: number, b: number): number {
  const exact = a * b;
  return canonical((exact - Math.floor(exact * inverseOfQ) * q - q) | 0);
}

/** A coefficient to (-q/2, q/2). */
function centered(value: number): number {
  return value - (q & (((q - 1) / 2 - value) >> 31));
}

/** Whether the magnitude of a centered coefficient is `bound` or more. */
function exceeds(values: Coefficients, bound: number): boolean {
  for (const value of values) if (Math.abs(centered(value)) >= bound) return true;
  return false;
}

/** r₁ of Decompose (algorithm 36), but 44 where that is 0 because r is q - 1 or little less. */
function roundedQuotient(r: number): number {
  return ((r + gamma2 - 1) / (2 * gamma2)) | 0;
}

/** -1 for 44, otherwise 0. */
function isWrapped(quotient: number): number {
  return (highValues - 1 - quotient) >> 31;
}

function highBits(r: number): number {
  const quotient = roundedQuotient(r);
  return quotient & ~isWrapped(quotient);
}

/** r₀ of Decompose, modulo q. */
function lowBits(r: number): number {
  const quotient = roundedQuotient(r);
  return canonical(r - quotient * 2 * gamma2 + isWrapped(quotient));
}

/** Algorithm 40. */
function useHint(hint: number, r: number): number {
  if (hint === 0) return highBits(r);
  const step = centered(lowBits(r)) > 0 ? 1 : highValues - 1;
  return (highBits(r) + step) % highValues;
}

// Polynomials

/** 1753 to the power of the index with its eight bits reversed (appendix B). */
const zetas = (() => {
  const powers = new Int32Array(degree);
  for (let at = 0, power = 1; at < degree; at++, power = times(power, 1753)) {
    let reversed = 0;
    for (let bit = 0; bit < 8; bit++) reversed |= ((at >> bit) & 1) << (7 - bit);
    powers[reversed] = power;
  }
  return powers;
})();

/** NTT of each polynomial, in place (algorithm 41). */
function toNtt(values: Coefficients): void {
  for (let base = 0; base < values.length; base += degree) {
    let next = 0;
    for (let half = degree / 2; half >= 1; half >>= 1) {
      for (let start = base; start < base + degree; start += 2 * half) {
        const zeta = zetas[++next] as number;
        for (let at = start; at < start + half; at++) {
          const low = values[at] as number;
          const high = times(zeta, values[at + half] as number);
          values[at] = plus(low, high);
          values[at + half] = minus(low, high);
        }
      }
    }
  }
}

/** The inverse of 256 modulo q. */
const inverseOfDegree = 8347681;

/** NTT⁻¹ of each polynomial, in place (algorithm 42). */
function fromNtt(values: Coefficients): void {
  for (let base = 0; base < values.length; base += degree) {
    let next = degree;
    for (let half = 1; half < degree; half <<= 1) {
      for (let start = base; start < base + degree; start += 2 * half) {
        const zeta = zetas[--next] as number;
        for (let at = start; at < start + half; at++) {
          const low = values[at] as number;
          const high = values[at + half] as number;
          values[at] = plus(low, high);
          values[at + half] = times(zeta, minus(high, low));
        }
      }
    }
    for (let at = base; at < base + degree; at++) {
      values[at] = times(inverseOfDegree, values[at] as number);
    }
  }
}

/** The product of the matrix and a vector, all transformed. */
function matrixProduct(matrix: Coefficients, vector: Coefficients): Coefficients {
  const result = newVector();
  for (let at = 0; at < result.length; at++) {
    const start = (at - (at % degree)) * rank + (at % degree);
    let sum = 0;
    for (let column = 0; column < rank; column++) {
      const factor = matrix[start + column * degree] as number;
      sum = plus(sum, times(factor, vector[(at % degree) + column * degree] as number));
    }
    result[at] = sum;
  }
  return result;
}

/** The products of a transformed vector's polynomials and a polynomial, transformed back. */
function product(vector: Coefficients, polynomial: Coefficients): Coefficients {
  const result = newVector();
  for (let at = 0; at < result.length; at++) {
    result[at] = times(vector[at] as number, polynomial[at % degree] as number);
  }
  fromNtt(result);
  return result;
}

// Pseudorandom polynomials

/** ExpandA (algorithms 30 and 32). */
function expandMatrix(rho: Uint8Array): Coefficients {
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
function smallVector(seed: Buffer, firstNonce: number): Coefficients {
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
function maskVector(seed: Buffer, nonce: number): Coefficients {
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
function sampleInBall(hash: Uint8Array): Coefficients {
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
function shake(algorithm: Shake, outputLength: number, parts: readonly Uint8Array[]): Buffer {
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

// Bytes

/** SimpleBitPack (algorithm 16) of values of `bits` bits. */
function pack(values: Coefficients, bits: number): Buffer {
  const bytes = Buffer.alloc((values.length * bits) / 8);
  let [pending, count, at] = [0, 0, 0];
  for (const value of values) {
    pending |= value << count;
    for (count += bits; count >= 8; count -= 8, pending >>>= 8) bytes[at++] = pending & 0xff;
  }
  return bytes;
}

/** The inverse of `pack`. */
function unpack(bytes: Uint8Array, bits: number, values: Coefficients): void {
  let [pending, count, at] = [0, 0, 0];
  for (const byte of bytes) {
    pending |= byte << count;
    for (count += 8; count >= bits; count -= bits, pending >>>= bits) {
      values[at++] = pending & ((1 << bits) - 1);
    }
  }
}

/** HintBitPack (algorithm 20); undefined for too many hints. */
function packHints(isHint: (at: number) => boolean): Buffer | undefined {
  const bytes = Buffer.alloc(omega + rank);
  let count = 0;
  for (let row = 0; row < rank; row++) {
    for (let at = 0; at < degree; at++) {
      if (!isHint(row * degree + at)) continue;
      if (count === omega) return undefined;
      bytes[count++] = at;
    }
    bytes[omega + row] = count;
  }
  return bytes;
}

/** HintBitUnpack (algorithm 21); undefined for any but the one encoding of some hints. */
function unpackHints(bytes: Uint8Array): Coefficients | undefined {
  const hints = newVector();
  let count = 0;
  for (let row = 0; row < rank; row++) {
    const end = bytes[omega + row] as number;
    if (end < count || end > omega) return undefined;
    for (let previous = -1; count < end; count++) {
      const place = bytes[count] as number;
      if (place <= previous) return undefined;
      hints[row * degree + place] = 1;
      previous = place;
    }
  }
  return bytes.subarray(count, omega).every((byte) => byte === 0) ? hints : undefined;
}
