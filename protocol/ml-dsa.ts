/**
 * ML-DSA-44 (FIPS 204): expanding a seed, signing, verifying.
 *
 * It is for versions of Node.js that lack it: callers use `ml-dsa-key.ts`. `@noble/post-quantum`, with
 * which the tests compare byte by byte, needs ten times as long as this, and leaves parts of the private
 * key in freed memory. Here every array with a secret is overwritten, and none is so small that V8 would
 * move it.
 */
import { randomFillSync } from "node:crypto";
import {
  type Coefficients,
  canonical,
  centered,
  degree,
  exceeds,
  fromNtt,
  gamma2,
  highBits,
  lowBits,
  matrixProduct,
  minus,
  newVector,
  plus,
  product,
  rank,
  times,
  toNtt,
  useHint,
} from "./ml-dsa-ring.ts";
import {
  beta,
  bitsOf,
  expandMatrix,
  gamma1,
  maskVector,
  pack,
  sampleInBall,
  shake,
  smallVector,
  unpack,
} from "./ml-dsa-sampling.ts";
import { mlDsaLengths } from "./public-key.ts";
import { secretBytes } from "./secret-bytes.ts";

const omega = 80;
const droppedBits = 13;

const rhoLength = 32;
const hashLength = 64;
const challengeLength = 32;
const hintAt = challengeLength + (rank * degree * bitsOf.z) / 8;

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
