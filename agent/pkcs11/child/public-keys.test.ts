import { generateKeyPairSync, type KeyObject } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { toKeyObject } from "../../../protocol/key-object.ts";
import { type CurveName, curves } from "../../../protocol/public-key.ts";
import {
  ecPublicKey,
  infoPublicKey,
  readCertificate,
  rsaPublicKey,
  Unusable,
} from "./public-keys.ts";

const curveNames = Object.keys(curves) as CurveName[];

function jwkPart(key: KeyObject, name: "x" | "y" | "n" | "e"): Buffer {
  return Buffer.from(key.export({ format: "jwk" })[name] ?? "", "base64url");
}

function ecPoint(curve: CurveName): Buffer {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: curves[curve].jwk });
  return Buffer.concat([Buffer.from([4]), jwkPart(publicKey, "x"), jwkPart(publicKey, "y")]);
}

/** Why a key cannot be used; undefined if it can. */
function reasonOf(read: () => unknown): string | undefined {
  try {
    read();
    return undefined;
  } catch (error) {
    if (error instanceof Unusable) return error.message;
    throw error;
  }
}

/** With bytes behind it. */
function padded(bytes: Buffer): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(7)]);
}

/** A DER BIT STRING. */
function bitString(bytes: Buffer): Buffer {
  const length = bytes.length + 1;
  const header = length < 0x80 ? [length] : [0x81, length];
  return Buffer.concat([Buffer.from([3, ...header, 0]), bytes]);
}

/** A DER OCTET STRING. */
function octetString(bytes: Buffer): Buffer {
  const length = bytes.length < 0x80 ? [bytes.length] : [0x81, bytes.length];
  return Buffer.concat([Buffer.from([4, ...length]), bytes]);
}

test("an EC point is read in all forms that tokens give, on each curve", (t) => {
  for (const curve of curveNames) {
    const point = ecPoint(curve);
    const { oid, bytes } = curves[curve];
    const expected = { type: "ecdsa" as const, curve, point };
    const compressed = Buffer.concat([
      Buffer.of(2 + ((point.at(-1) ?? 0) & 1)),
      point.subarray(1, 1 + bytes),
    ]);
    for (const form of [point, point.subarray(1), compressed]) {
      t.deepEqual(ecPublicKey(oid, form), expected);
      t.deepEqual(ecPublicKey(oid, octetString(form)), expected);
      t.deepEqual(ecPublicKey(oid, bitString(form)), expected);
      t.deepEqual(ecPublicKey(oid, octetString(octetString(form))), expected);
      t.deepEqual(ecPublicKey(oid, padded(octetString(form))), expected);
      t.deepEqual(ecPublicKey(oid, padded(bitString(form))), expected);
    }
    t.deepEqual(ecPublicKey(oid, padded(point)), expected);
    t.deepEqual(ecPublicKey(padded(oid), point), expected);
  }
});

test("an EC point that is off its curve or of another curve is refused", (t) => {
  const point = ecPoint("nistp256");
  const off = Buffer.from(point);
  off[40] = (off[40] as number) ^ 1;
  const { nistp256, nistp384 } = curves;
  const secp256k1 = Buffer.from("06052b8104000a", "hex");
  for (const [params, wrong, reason] of [
    [nistp256.oid, off, "invalid public key"],
    [nistp256.oid, off.subarray(1), "invalid public key"],
    [nistp256.oid, octetString(off), "invalid public key"],
    [nistp256.oid, Buffer.alloc(33, 0xff).fill(2, 0, 1), "invalid public key"],
    [nistp256.oid, Buffer.of(4), "invalid public key"],
    [nistp384.oid, point, "invalid public key"],
    [secp256k1, point, "curve not used by SSH"],
  ] as const) {
    t.is(
      reasonOf(() => ecPublicKey(params, wrong)),
      reason,
    );
  }
});

test("a curve is recognized by its name", (t) => {
  const printable = (name: string) => Buffer.from(`\x13${String.fromCharCode(name.length)}${name}`);
  for (const [name, curve] of [
    ["secp256r1", "nistp256"],
    ["prime256v1", "nistp256"],
    ["P-256", "nistp256"],
    ["secp384r1", "nistp384"],
    ["SECP521R1", "nistp521"],
  ] as const) {
    const point = ecPoint(curve);
    for (const params of [printable(name), Buffer.from(name)]) {
      t.deepEqual(ecPublicKey(params, octetString(point)), { type: "ecdsa", curve, point });
    }
  }
  const secp256k1 = printable("secp256k1");
  t.is(
    reasonOf(() => ecPublicKey(secp256k1, ecPoint("nistp256"))),
    "curve not used by SSH",
  );
});

test("a curve is recognized by explicit parameters", (t) => {
  for (const curve of curveNames) {
    const { publicKey } = generateKeyPairSync("ec", {
      namedCurve: curves[curve].jwk,
      paramEncoding: "explicit",
    });
    const der = publicKey.export({ format: "der", type: "spki" });
    const algorithm = der.indexOf(Buffer.from("06072a8648ce3d0201", "hex")) + 9;
    const params = der.subarray(algorithm, algorithm + derLength(der.subarray(algorithm)));
    const point = Buffer.concat([Buffer.of(4), jwkPart(publicKey, "x"), jwkPart(publicKey, "y")]);
    t.deepEqual(ecPublicKey(params, point), { type: "ecdsa", curve, point });
    t.is(
      reasonOf(() => ecPublicKey(params.subarray(0, 60), point)),
      "curve not used by SSH",
    );
  }
});

/** The length of the first DER value, with its header. */
function derLength(der: Buffer): number {
  const short = der[1] ?? 0;
  if (short < 0x80) return 2 + short;
  return 2 + (short & 0x7f) + der.readUIntBE(2, short & 0x7f);
}

test("Ed25519 is recognized by its OIDs and names", (t) => {
  const { publicKey } = generateKeyPairSync("ed25519");
  const raw = jwkPart(publicKey, "x");
  const name = Buffer.concat([Buffer.from([0x13, 12]), Buffer.from("edwards25519")]);
  const bare = Buffer.from("Ed25519").toString("hex");
  const params = ["06032b6570", name.toString("hex"), "06092b06010401da470f01", bare];
  for (const hex of params) {
    const expected = { type: "ed25519" as const, publicKey: raw };
    t.deepEqual(ecPublicKey(Buffer.from(hex, "hex"), octetString(raw)), expected);
    t.deepEqual(ecPublicKey(Buffer.from(hex, "hex"), raw), expected);
    const prefixed = Buffer.concat([Buffer.of(0x40), raw]);
    for (const form of [bitString(raw), padded(octetString(raw)), prefixed]) {
      t.deepEqual(ecPublicKey(Buffer.from(hex, "hex"), form), expected);
    }
  }
  const curve25519 = Buffer.from("\x13\x0acurve25519");
  t.deepEqual(ecPublicKey(curve25519, raw, true), { type: "ed25519", publicKey: raw });
  t.is(
    reasonOf(() => ecPublicKey(curve25519, raw)),
    "curve not used by SSH",
  );
  const ed448 = Buffer.from("06032b6571", "hex");
  t.is(
    reasonOf(() => ecPublicKey(ed448, raw)),
    "curve not used by SSH",
  );
});

test("a key is read from its SubjectPublicKeyInfo", (t) => {
  const point = ecPoint("nistp384");
  const spki = toKeyObject({ type: "ecdsa", curve: "nistp384", point });
  const der = spki.export({ format: "der", type: "spki" });
  t.deepEqual(infoPublicKey(der), { type: "ecdsa", curve: "nistp384", point });
  t.is(
    reasonOf(() => infoPublicKey(der.subarray(1))),
    "invalid public key",
  );
});

test("RSA numbers may have leading zeros, and keys under 1024 bits are ignored", (t) => {
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const n = jwkPart(publicKey, "n");
  const padded = Buffer.concat([Buffer.alloc(1), n]);
  const e = Buffer.from([0, 1, 0, 1]);
  t.deepEqual(rsaPublicKey(padded, e), { type: "rsa", n, e: Buffer.from([1, 0, 1]) });
  const short = generateKeyPairSync("rsa", { modulusLength: 768 }).publicKey;
  t.is(
    reasonOf(() => rsaPublicKey(jwkPart(short, "n"), e)),
    "RSA below 1,024 bits",
  );
});

test("garbage and missing attributes give no key and a reason", (t) => {
  const maybe = fc.option(
    fc.uint8Array({ maxLength: 140 }).map((array) => Buffer.from(array)),
    { nil: undefined },
  );
  const params = fc.oneof(maybe, fc.constantFrom(...curveNames.map((name) => curves[name].oid)));
  fc.assert(
    fc.property(params, maybe, (one, other) => {
      t.truthy(reasonOf(() => ecPublicKey(one, other)));
      t.truthy(reasonOf(() => readCertificate(other)));
      t.notThrows(() => reasonOf(() => rsaPublicKey(one, other)));
    }),
  );
});
