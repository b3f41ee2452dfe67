/**
 * Remainders of large integers in buffers, which can be overwritten, unlike a BigInt.
 *
 * An RSA private key arrives without its CRT exponents (RFC 9987, section 3.2.5), which OpenSSL
 * needs.
 */
import { secretBytes } from "../../protocol/secret-bytes.ts";

/** A magnitude minus one. `bytes` is big-endian and not zero. */
export function minusOne(bytes: Uint8Array): Buffer {
  const result = Buffer.from(bytes);
  for (let at = result.length - 1; at >= 0; at--) {
    const value = result[at] as number;
    result[at] = (value - 1) & 0xff;
    if (value > 0) break;
  }
  return result;
}

const base = 0x10000;

/**
 * The remainder of `dividend` by `divisor`, both big-endian magnitudes; the divisor is not zero.
 * The result is as long as the divisor.
 *
 * Long division in base 2^16 (Knuth, The Art of Computer Programming, volume 2, algorithm D).
 */
export function modulo(dividend: Uint8Array, divisor: Uint8Array): Buffer {
  const start = divisor.findIndex((byte) => byte !== 0);
  if (start < 0) throw new RangeError("division by zero");
  const significant = divisor.subarray(start);
  // Normalize: with the highest bit of the divisor set, its first digits estimate the quotient.
  const odd = significant.length % 2;
  const shift = Math.clz32(significant[0] as number) - 24 + 8 * odd;
  const by = toDigits(significant, shift, 0);
  const rest = toDigits(dividend, shift, by.length + 1);
  for (let at = 0; at + by.length < rest.length; at++) reduce(rest, by, at);
  const result = fromDigits(rest, shift, divisor.length);
  by.fill(0);
  rest.fill(0);
  return result;
}

/** Subtracts the largest multiple of the divisor from the digits of `rest` that start at `at`. */
function reduce(rest: Uint32Array, by: Uint32Array, at: number): void {
  const first = by[0] as number;
  const second = by[1] ?? 0;
  const high = (rest[at] as number) * base + (rest[at + 1] as number);
  const next = by.length > 1 ? (rest[at + 2] as number) : 0;
  let times = Math.min(Math.floor(high / first), base - 1);
  while (times * second > (high - times * first) * base + next) times--;
  let borrow = 0;
  for (let digit = by.length - 1; digit >= 0; digit--) {
    const value = (rest[at + digit + 1] as number) - times * (by[digit] as number) - borrow;
    rest[at + digit + 1] = value & 0xffff;
    borrow = -Math.floor(value / base);
  }
  const top = (rest[at] as number) - borrow;
  rest[at] = 0;
  if (top < 0) addBack(rest, by, at);
}

/** Adds the divisor back: the estimated digit of the quotient was one too high. */
function addBack(rest: Uint32Array, by: Uint32Array, at: number): void {
  let carry = 0;
  for (let digit = by.length - 1; digit >= 0; digit--) {
    const value = (rest[at + digit + 1] as number) + (by[digit] as number) + carry;
    rest[at + digit + 1] = value & 0xffff;
    carry = value >>> 16;
  }
}

/**
 * Bytes as digits of 16 bits, most significant first, times 2^shift.
 * @param least minimum number of digits; unless it is 0, there is one digit more than needed
 */
function toDigits(bytes: Uint8Array, shift: number, least: number): Uint32Array {
  const needed = Math.ceil(bytes.length / 2);
  const extra = least === 0 ? 0 : 1;
  const digits = new Uint32Array(new ArrayBuffer(4 * Math.max(needed + extra, least)));
  for (let at = 0; at < bytes.length; at++) {
    const fromEnd = bytes.length - 1 - at;
    const place = digits.length - 1 - (fromEnd >> 1);
    digits[place] = (digits[place] as number) | ((bytes[at] as number) << (8 * (fromEnd & 1)));
  }
  let carry = 0;
  for (let place = digits.length - 1; place >= 0; place--) {
    const value = ((digits[place] as number) << shift) | carry;
    digits[place] = value & 0xffff;
    carry = value >>> 16;
  }
  return digits;
}

/** The inverse of `toDigits`, in `length` bytes. */
function fromDigits(digits: Uint32Array, shift: number, length: number): Buffer {
  const bytes = secretBytes(length);
  for (let fromEnd = 0; fromEnd < length; fromEnd++) {
    const place = digits.length - 1 - (fromEnd >> 1);
    const value = (((digits[place - 1] ?? 0) << 16) | (digits[place] ?? 0)) >>> shift;
    bytes[length - 1 - fromEnd] = (value >>> (8 * (fromEnd & 1))) & 0xff;
  }
  return bytes;
}
