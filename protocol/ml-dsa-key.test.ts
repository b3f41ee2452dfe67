import { randomBytes } from "node:crypto";
import { ml_dsa44 as noble } from "@noble/post-quantum/ml-dsa.js";
import test from "ava";
import fc from "fast-check";
import { bytes } from "./arbitraries.ts";
import { expandMlDsaSeed, mlDsaSign, mlDsaVerify } from "./ml-dsa.ts";
import { mlDsaPublicKey, openMlDsaKey, verifyMlDsa } from "./ml-dsa-key.ts";

test("a key's signatures are valid for all implementations, and theirs for it", (t) => {
  fc.assert(
    fc.property(bytes(32, 32), bytes(300), bytes(255), (seed, data, context) => {
      const { publicKey, secret } = expandMlDsaSeed(seed);
      t.deepEqual(mlDsaPublicKey(seed), publicKey);
      const signature = openMlDsaKey(seed).sign(data, context);
      t.true(noble.verify(signature, data, publicKey, { context }));
      t.true(mlDsaVerify(publicKey, data, context, signature));
      t.true(verifyMlDsa(publicKey, data, context, signature));
      t.true(verifyMlDsa(publicKey, data, context, mlDsaSign(secret, data, context)));
    }),
    { numRuns: 10 },
  );
});

test("data, context, key and lengths are checked; a signature is different each time", (t) => {
  const seed = randomBytes(32);
  const { publicKey } = expandMlDsaSeed(seed);
  const [data, context] = [Buffer.from("data"), Buffer.from("context")];
  const key = openMlDsaKey(seed);
  const signature = key.sign(data, context);
  t.notDeepEqual(key.sign(data, context), signature);
  t.true(verifyMlDsa(publicKey, data, context, signature));
  t.false(verifyMlDsa(publicKey, Buffer.from("dat"), context, signature));
  t.false(verifyMlDsa(publicKey, data, Buffer.from("contexu"), signature));
  t.false(verifyMlDsa(expandMlDsaSeed(randomBytes(32)).publicKey, data, context, signature));
  const none = Buffer.alloc(0);
  for (const wrong of [signature.subarray(1), Buffer.concat([signature, Buffer.of(0)]), none]) {
    t.false(verifyMlDsa(publicKey, data, context, wrong));
  }
  for (const wrong of [publicKey.subarray(1), Buffer.concat([publicKey, Buffer.of(0)]), none]) {
    t.false(verifyMlDsa(wrong, data, context, signature));
  }
  t.throws(() => key.sign(data, Buffer.alloc(256)), { instanceOf: RangeError });
});
