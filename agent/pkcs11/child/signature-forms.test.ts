import { generateKeyPairSync, type KeyPairKeyObjectResult, sign } from "node:crypto";
import test from "ava";
import { publicKeyBlob } from "../../../fixtures/public-key-blob.ts";
import { derInteger, derSequence, derTagged } from "../../../protocol/der.ts";
import { decodePublicKey, type PublicKey } from "../../../protocol/public-key.ts";
import { encodeSignature, signatureAlgorithm } from "../../../protocol/signature.ts";
import { verifySignature } from "../../../protocol/verification.ts";
import { trimZeros } from "../../../protocol/wire.ts";
import { signatureForms } from "./signature-forms.ts";

const rsaSha256 = 2;

/** A key, and a source of raw signatures over different data. */
function signer({ publicKey, privateKey }: KeyPairKeyObjectResult) {
  const key = decodePublicKey(publicKeyBlob(publicKey));
  if (key === undefined) throw new Error("a key cannot be read");
  const algorithm = signatureAlgorithm(key, rsaSha256);
  const hash = { nistp256: "sha256", nistp384: "sha384", nistp521: "sha512" } as const;
  let signed = 0;
  const next = () => {
    const data = Buffer.from(`what is signed, ${++signed}`);
    const name = key.type === "ecdsa" ? hash[key.curve] : key.type === "rsa" ? "sha256" : null;
    return { data, raw: sign(name, data, { key: privateKey, dsaEncoding: "ieee-p1363" }) };
  };
  /** The first signature of which something is true. */
  const find = (isWanted: (raw: Buffer) => boolean) => {
    for (;;) {
      const made = next();
      if (isWanted(made.raw)) return made;
    }
  };
  /** The number of forms until a valid one, or 0. */
  const formsUntilValid = (output: Buffer, data: Buffer): number => {
    const forms = [...signatureForms(key, output)];
    const isValid = (raw: Buffer) => verifySignature(key, encodeSignature(algorithm, raw), data);
    return forms.findIndex(isValid) + 1;
  };
  return { key, next, find, formsUntilValid };
}

const ec = (namedCurve: string) => signer(generateKeyPairSync("ec", { namedCurve }));
const ecdsaSigners = ["P-256", "P-384", "P-521"].map(ec);
const rsa = signer(generateKeyPairSync("rsa", { modulusLength: 1024 }));
const ed25519 = signer(generateKeyPairSync("ed25519"));

const half = (raw: Buffer, at: 0 | 1) =>
  raw.subarray((at * raw.length) / 2, ((at + 1) * raw.length) / 2);
const halves = (raw: Buffer) => [half(raw, 0), half(raw, 1)] as const;
const zeros = (count: number) => Buffer.alloc(count);

test("a signature of the right form is the first guess", (t) => {
  for (const { next, formsUntilValid } of [...ecdsaSigners, rsa, ed25519]) {
    const { raw, data } = next();
    t.is(formsUntilValid(raw, data), 1);
  }
  for (const { key, next } of [rsa, ed25519]) {
    t.is([...signatureForms(key, next().raw)].length, 1);
  }
});

test("an RSA signature without its leading zeros, or with more of them", (t) => {
  const { raw, data } = rsa.find((found) => found[0] === 0);
  t.is(rsa.formsUntilValid(trimZeros(raw), data), 1);
  t.is(rsa.formsUntilValid(Buffer.concat([zeros(1), raw]), data), 1);
});

test("r and s without their leading zeros", (t) => {
  for (const { find, formsUntilValid } of ecdsaSigners) {
    for (const short of [0, 1] as const) {
      const { raw, data } = find(
        (made) => half(made, short)[0] === 0 && half(made, short)[1] !== 0,
      );
      const trimmed = Buffer.concat(halves(raw).map(trimZeros));
      t.true(formsUntilValid(trimmed, data) > 0);
    }
  }
});

test("r and s in halves that are shorter or longer than the curve's", (t) => {
  for (const { next, formsUntilValid } of ecdsaSigners) {
    const { raw, data } = next();
    const longer = Buffer.concat(halves(raw).flatMap((integer) => [zeros(2), integer]));
    t.is(formsUntilValid(longer, data), 1);
  }
  // Only P-521 often has zeros in both halves: its integers have 521 bits.
  const p521 = ecdsaSigners[2] ?? ec("P-521");
  const { raw, data } = p521.find((made) => half(made, 0)[0] === 0 && half(made, 1)[0] === 0);
  const shorter = Buffer.concat(halves(raw).map((integer) => integer.subarray(1)));
  t.true(p521.formsUntilValid(shorter, data) > 0);
});

test("r and s in DER", (t) => {
  for (const { next, formsUntilValid } of ecdsaSigners) {
    const { raw, data } = next();
    const encoded = derSequence(halves(raw).map(derInteger));
    t.true(formsUntilValid(encoded, data) > 0, "minimal");
    t.true(formsUntilValid(Buffer.concat([encoded, zeros(7)]), data) > 0, "padded behind");
    for (const count of [0, 3]) {
      const integers = halves(raw).map((integer) =>
        derTagged(2, Buffer.concat([zeros(count), integer])),
      );
      t.true(formsUntilValid(derSequence(integers), data) > 0, `${count} zeros`);
    }
  }
});

test("a length that is longer than the signature", (t) => {
  for (const { next, formsUntilValid } of [...ecdsaSigners, rsa, ed25519]) {
    const { raw, data } = next();
    for (const more of [1, 2, 64]) {
      t.true(formsUntilValid(Buffer.concat([raw, Buffer.alloc(more, 0xa5)]), data) > 0);
    }
  }
});

test("whatever a library returns has a few forms of the right length", (t) => {
  for (const { key } of [...ecdsaSigners, rsa, ed25519]) {
    for (let length = 0; length < 300; length++) {
      for (const byte of [0, 2, 0x30, 0x81, 0xff]) checkForms(key, Buffer.alloc(length, byte));
    }
  }
  function checkForms(key: PublicKey, output: Buffer): void {
    const forms = [...signatureForms(key, output)];
    t.true(forms.length <= 10);
    t.true(forms.every((raw) => raw.length === lengthOf(key)));
  }
});

function lengthOf(key: PublicKey): number {
  const lengths = { nistp256: 64, nistp384: 96, nistp521: 132 };
  return key.type === "ecdsa" ? lengths[key.curve] : key.type === "rsa" ? 128 : 64;
}
