/**
 * The ring of ML-DSA-44 (FIPS 204): polynomials of degree below 256 modulo q, their transform and rounding.
 *
 * Coefficients are in [0, q) unless a comment says otherwise. A vector is its polynomials one after the
 * other, the matrix its rows. No branch and no index depends on a secret, but for the place where
 * `exceeds` finds that a candidate is to be rejected.
 */

/** The modulus. */
export const q = 8380417;
/** Coefficients of a polynomial. */
export const degree = 256;
/** The matrix has as many rows as columns (k and l). */
export const rank = 4;
export const gamma2 = (q - 1) / 88;
/** The number of values that `highBits` has. */
const highValues = 44;

export type Coefficients = Int32Array<ArrayBuffer>;
export const newVector = (): Coefficients => new Int32Array(rank * degree);

const inverseOfQ = 1 / q;

/** A difference in (-q, q) to [0, q). */
export function canonical(value: number): number {
  return value + (q & (value >> 31));
}

export function plus(a: number, b: number): number {
  return canonical(a + b - q);
}

export function minus(a: number, b: number): number {
  return canonical(a - b);
}

export function times(a: number, b: number): number {
  return reduce(a * b);
}

/**
 * An integer of a magnitude below 2^50 to [0, q). The quotient of doubles errs by less than 2^-24, so its
 * floor is right, or one too small where q divides the integer.
 */
function reduce(value: number): number {
  return canonical((value - Math.floor(value * inverseOfQ) * q - q) | 0);
}

/** A coefficient to (-q/2, q/2). */
export function centered(value: number): number {
  return value - (q & (((q - 1) / 2 - value) >> 31));
}

/** Whether the magnitude of a centered coefficient is `bound` or more. */
export function exceeds(values: Coefficients, bound: number): boolean {
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

export function highBits(r: number): number {
  const quotient = roundedQuotient(r);
  return quotient & ~isWrapped(quotient);
}

/** r₀ of Decompose, modulo q. */
export function lowBits(r: number): number {
  const quotient = roundedQuotient(r);
  return canonical(r - quotient * 2 * gamma2 + isWrapped(quotient));
}

/** Algorithm 40. */
export function useHint(hint: number, r: number): number {
  if (hint === 0) return highBits(r);
  const step = centered(lowBits(r)) > 0 ? 1 : highValues - 1;
  return (highBits(r) + step) % highValues;
}

let knownZetas: Coefficients | undefined;

/** 1753 to the power of the index with its eight bits reversed (appendix B); made when first needed. */
function zetas(): Coefficients {
  knownZetas ??= makeZetas();
  return knownZetas;
}

function makeZetas(): Coefficients {
  const powers = new Int32Array(degree);
  for (let at = 0, power = 1; at < degree; at++, power = times(power, 1753)) {
    let reversed = 0;
    for (let bit = 0; bit < 8; bit++) reversed |= ((at >> bit) & 1) << (7 - bit);
    powers[reversed] = power;
  }
  return powers;
}

/** NTT of each polynomial, in place (algorithm 41). Coefficients grow to 9q, and are reduced at the end. */
export function toNtt(values: Coefficients): void {
  const roots = zetas();
  for (let base = 0; base < values.length; base += degree) {
    let next = 0;
    for (let half = degree / 2; half >= 1; half >>= 1) {
      for (let start = base; start < base + degree; start += 2 * half) {
        const zeta = roots[++next] as number;
        for (let at = start; at < start + half; at++) {
          const low = values[at] as number;
          const high = times(zeta, values[at + half] as number);
          values[at] = low + high;
          values[at + half] = low - high;
        }
      }
    }
  }
  for (let at = 0; at < values.length; at++) values[at] = reduce(values[at] as number);
}

/** The inverse of 256 modulo q. */
const inverseOfDegree = 8347681;

/** NTT⁻¹ of each polynomial, in place (algorithm 42). */
export function fromNtt(values: Coefficients): void {
  const roots = zetas();
  for (let base = 0; base < values.length; base += degree) {
    let next = degree;
    for (let half = 1; half < degree; half <<= 1) {
      for (let start = base; start < base + degree; start += 2 * half) {
        const zeta = roots[--next] as number;
        for (let at = start; at < start + half; at++) {
          const low = values[at] as number;
          const high = values[at + half] as number;
          values[at] = plus(low, high);
          values[at + half] = times(zeta, high - low);
        }
      }
    }
    for (let at = base; at < base + degree; at++) {
      values[at] = times(inverseOfDegree, values[at] as number);
    }
  }
}

/** The product of the matrix and a vector, all transformed. */
export function matrixProduct(matrix: Coefficients, vector: Coefficients): Coefficients {
  const result = newVector();
  for (let at = 0; at < result.length; at++) {
    const start = (at - (at % degree)) * rank + (at % degree);
    let sum = 0;
    for (let column = 0; column < rank; column++) {
      const factor = matrix[start + column * degree] as number;
      sum += factor * (vector[(at % degree) + column * degree] as number);
    }
    result[at] = reduce(sum);
  }
  return result;
}

/** The products of a transformed vector's polynomials and a polynomial, transformed back. */
export function product(vector: Coefficients, polynomial: Coefficients): Coefficients {
  const result = newVector();
  for (let at = 0; at < result.length; at++) {
    result[at] = times(vector[at] as number, polynomial[at % degree] as number);
  }
  fromNtt(result);
  return result;
}
