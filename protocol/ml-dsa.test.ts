import { randomBytes } from "node:crypto";
import { ml_dsa44 as noble } from "@noble/post-quantum/ml-dsa.js";
import test from "ava";
import fc from "fast-check";
import { bytes } from "./arbitraries.ts";
import { expandMlDsaSeed, mlDsaSign, mlDsaVerify, wipeMlDsaSecret } from "./ml-dsa.ts";
import { mlDsaLengths } from "./public-key.ts";

const seed = bytes(32, 32);
const message = bytes(300);
const context = bytes(255);

test("keys and signatures are those of another implementation, byte by byte", (t) => {
  fc.assert(
    fc.property(seed, message, context, seed, (keySeed, data, label, random) => {
      const theirs = noble.keygen(keySeed);
      const { publicKey, secret } = expandMlDsaSeed(keySeed);
      t.deepEqual(publicKey, Buffer.from(theirs.publicKey));
      const options = { context: label, extraEntropy: Uint8Array.from(random) };
      const signature = Buffer.from(noble.sign(data, theirs.secretKey, options));
      t.deepEqual(mlDsaSign(secret, data, label, random), signature);
      t.true(mlDsaVerify(publicKey, data, label, signature));
    }),
    { numRuns: 20 },
  );
});

test("a signature with a changed byte is as invalid as for another implementation", (t) => {
  const { publicKey, secret } = expandMlDsaSeed(randomBytes(32));
  const [data, label] = [randomBytes(40), randomBytes(8)];
  const signature = mlDsaSign(secret, data, label);
  const place = fc.oneof(
    fc.nat({ max: mlDsaLengths.signature - 1 }),
    fc.integer({ min: mlDsaLengths.signature - 84, max: mlDsaLengths.signature - 1 }), // hints
  );
  fc.assert(
    fc.property(place, fc.integer({ min: 1, max: 255 }), (at, change) => {
      const changed = Buffer.from(signature);
      changed[at] = (changed[at] as number) ^ change;
      t.false(noble.verify(changed, data, publicKey, { context: label }));
      t.false(mlDsaVerify(publicKey, data, label, changed));
    }),
    { numRuns: 30 },
  );
});

test("any bytes of the right length are verified without an error, and others are invalid", (t) => {
  fc.assert(
    fc.property(
      bytes(mlDsaLengths.publicKey, mlDsaLengths.publicKey),
      bytes(mlDsaLengths.signature, mlDsaLengths.signature),
      message,
      (publicKey, signature, data) => {
        t.false(mlDsaVerify(publicKey, data, Buffer.alloc(0), signature));
      },
    ),
    { numRuns: 20 },
  );
  const { publicKey, secret } = expandMlDsaSeed(randomBytes(32));
  const none = Buffer.alloc(0);
  const signature = mlDsaSign(secret, none, none);
  t.true(mlDsaVerify(publicKey, none, none, signature));
  for (const wrong of [signature.subarray(1), Buffer.concat([signature, Buffer.of(0)]), none]) {
    t.false(mlDsaVerify(publicKey, none, none, wrong));
  }
  for (const wrong of [publicKey.subarray(1), Buffer.concat([publicKey, Buffer.of(0)]), none]) {
    t.false(mlDsaVerify(wrong, none, none, signature));
  }
});

test("data, context and key are signed; a signature is different each time", (t) => {
  const { publicKey, secret } = expandMlDsaSeed(randomBytes(32));
  const [data, label] = [Buffer.from("data"), Buffer.from("context")];
  const signature = mlDsaSign(secret, data, label);
  t.notDeepEqual(mlDsaSign(secret, data, label), signature);
  t.true(mlDsaVerify(publicKey, data, label, signature));
  t.false(mlDsaVerify(publicKey, Buffer.from("dat"), label, signature));
  t.false(mlDsaVerify(publicKey, data, Buffer.from("contexu"), signature));
  // The context has a length, so that it does not run into the data.
  t.false(mlDsaVerify(publicKey, Buffer.from("tdata"), Buffer.from("contex"), signature));
  t.false(mlDsaVerify(expandMlDsaSeed(randomBytes(32)).publicKey, data, label, signature));
  t.throws(() => mlDsaSign(secret, data, Buffer.alloc(256)), { instanceOf: RangeError });
});

test("a private key is overwritten", (t) => {
  const { secret } = expandMlDsaSeed(randomBytes(32));
  const { matrix: _, ...secrets } = secret;
  const isZero = (array: ArrayLike<number>) => Array.from(array).every((value) => value === 0);
  for (const [name, array] of Object.entries(secrets)) t.false(isZero(array), name);
  wipeMlDsaSecret(secret);
  for (const [name, array] of Object.entries(secrets)) t.true(isZero(array), name);
});
