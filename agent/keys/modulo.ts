/**
 * Remainders of long numbers in buffers that can be overwritten, as JavaScript's BigInt cannot.
 *
 * An RSA private key arrives without the exponents of its Chinese remainders (RFC 9987,
 * section 3.2.5), and OpenSSL wants them.
 */

/** A magnitude without one: `bytes - 1`. `bytes` is most significant byte first and not zero. */
export function minusOne(bytes: Uint8Array): Buffer {
  const result = Buffer.from(bytes);
  for (let at = result.length - 1; at >= 0; at--) {
    const value = result[at] as number;
    result[at] = (value - 1) & 0xff;
    if (value > 0) break;
  }
  return result;
}

/**
 * The remainder of `dividend` by `divisor`, both magnitudes with their most significant byte first.
 * Long division in base 2^8, one bit at a time. The result is as long as the divisor.
 */
export function modulo(dividend: Uint8Array, divisor: Uint8Array): Buffer {
  // One byte more than the divisor, for the bit that doubling carries out.
  const rest = Buffer.alloc(divisor.length + 1);
  const wide = Buffer.concat([Buffer.of(0), divisor]);
  for (const byte of dividend) {
    for (let bit = 7; bit >= 0; bit--) {
      double(rest, (byte >> bit) & 1);
      if (Buffer.compare(rest, wide) >= 0) subtract(rest, wide);
    }
  }
  const result = Buffer.from(rest.subarray(1));
  rest.fill(0);
  wide.fill(0);
  return result;
}

function double(number: Buffer, carryIn: number): void {
  let carry = carryIn;
  for (let at = number.length - 1; at >= 0; at--) {
    const value = ((number[at] as number) << 1) | carry;
    number[at] = value & 0xff;
    carry = value >> 8;
  }
}

function subtract(number: Buffer, other: Buffer): void {
  let borrow = 0;
  for (let at = number.length - 1; at >= 0; at--) {
    const value = (number[at] as number) - (other[at] as number) - borrow;
    number[at] = value & 0xff;
    borrow = value < 0 ? 1 : 0;
  }
}
