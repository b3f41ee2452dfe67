import test from "ava";
import fc from "fast-check";
import { minusOne, modulo } from "./modulo.ts";

function toNumber(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).toString("hex") || "0"}`);
}

/** Magnitudes of all lengths, with many bytes that propagate carries and borrows. */
const magnitude = fc
  .array(fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 1, 0x7f, 0x80, 0xff)), {
    minLength: 1,
    maxLength: 40,
  })
  .filter((bytes) => bytes.some((byte) => byte !== 0))
  .map((bytes) => Buffer.from(bytes));

test("remainders are those of long division", (t) => {
  fc.assert(
    fc.property(magnitude, magnitude, (dividend, divisor) => {
      const rest = modulo(dividend, divisor);
      t.is(rest.length, divisor.length);
      t.is(toNumber(rest), toNumber(dividend) % toNumber(divisor));
    }),
    { numRuns: 5000 },
  );
});

test("a product has remainder 0, and its successor 1", (t) => {
  fc.assert(
    fc.property(magnitude, magnitude, (one, other) => {
      const product = (toNumber(one) * toNumber(other)).toString(16);
      const bytes = Buffer.from(
        product.padStart(product.length + (product.length % 2), "0"),
        "hex",
      );
      t.is(toNumber(modulo(bytes, one)), 0n);
    }),
    { numRuns: 2000 },
  );
});

test("minusOne subtracts one", (t) => {
  fc.assert(
    fc.property(magnitude, (number) => {
      t.is(toNumber(minusOne(number)), toNumber(number) - 1n);
    }),
  );
});
