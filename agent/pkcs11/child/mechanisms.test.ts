import { createHash, generateKeyPairSync } from "node:crypto";
import test from "ava";
import { publicKeyBlob } from "../../../fixtures/public-key-blob.ts";
import { Failure } from "../../../protocol/failure.ts";
import { decodePublicKey, type PublicKey } from "../../../protocol/public-key.ts";
import { signingWays } from "./mechanisms.ts";
import { wordLength } from "./structures.ts";

const data = Buffer.from("what is signed");
const digest = (name: string) => createHash(name).update(data).digest("hex");

const rsa = keyOf(generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey);
const p384 = keyOf(generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey);
const ed25519 = keyOf(generateKeyPairSync("ed25519").publicKey);

function keyOf(object: Parameters<typeof publicKeyBlob>[0]): PublicKey {
  const key = decodePublicKey(publicKeyBlob(object));
  if (key === undefined) throw new Error("a key cannot be read");
  return key;
}

/** The ways as mechanism and input, in hex. */
function ways(...[key, algorithm]: [PublicKey, Parameters<typeof signingWays>[1]]) {
  return signingWays(key, algorithm, data).map(({ mechanism, input, inParts }) => {
    const name = `0x${mechanism.mechanism.toString(16)}${inParts ? " in parts" : ""}`;
    return `${name} ${input.equals(data) ? "data" : input.toString("hex")}`;
  });
}

test("RSA: a DigestInfo, or the data for the mechanism of the hash", (t) => {
  for (const [algorithm, name, prefix, mechanism] of [
    ["ssh-rsa", "sha1", "3021300906052b0e03021a05000414", "0x6"],
    ["rsa-sha2-256", "sha256", "3031300d060960864801650304020105000420", "0x40"],
    ["rsa-sha2-512", "sha512", "3051300d060960864801650304020305000440", "0x42"],
  ] as const) {
    t.deepEqual(ways(rsa, algorithm), [
      `0x1 ${prefix}${digest(name)}`,
      `${mechanism} data`,
      `${mechanism} in parts data`,
    ]);
  }
});

test("ECDSA: the hash of the curve, or the data", (t) => {
  const expected = [`0x1041 ${digest("sha384")}`, "0x1045 data", "0x1045 in parts data"];
  t.deepEqual(ways(p384, "ecdsa-sha2-nistp384"), expected);
});

test("Ed25519: the data, without and with parameters", (t) => {
  const expected = ["0x1057 data", "0x1057 in parts data", "0x1057 data"];
  t.deepEqual(ways(ed25519, "ssh-ed25519"), expected);
  const [first, , last] = signingWays(ed25519, "ssh-ed25519", data);
  t.is(first.mechanism.parameter, undefined);
  t.deepEqual(last?.mechanism.parameter, Buffer.alloc(3 * wordLength));
});

test("an algorithm of another type of key", (t) => {
  for (const [key, algorithm] of [
    [rsa, "ssh-ed25519"],
    [p384, "ecdsa-sha2-nistp256"],
    [ed25519, "rsa-sha2-256"],
  ] as const) {
    t.throws(() => ways(key, algorithm), { instanceOf: Failure, message: /does not sign with/ });
  }
});
