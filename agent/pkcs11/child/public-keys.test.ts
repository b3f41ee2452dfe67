import { generateKeyPairSync, type KeyObject } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { type CurveName, curves } from "../../../protocol/public-key.ts";
import { certifiedPublicKey, ecPublicKey, rsaPublicKey } from "./public-keys.ts";
import { Unusable } from "./token-objects.ts";

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

/** A DER OCTET STRING. */
function octetString(bytes: Buffer): Buffer {
  const length = bytes.length < 0x80 ? [bytes.length] : [0x81, bytes.length];
  return Buffer.concat([Buffer.from([4, ...length]), bytes]);
}

test("an EC point is read raw and from an OCTET STRING, on each curve", (t) => {
  for (const curve of curveNames) {
    const point = ecPoint(curve);
    const expected = { type: "ecdsa" as const, curve, point };
    t.deepEqual(ecPublicKey(curves[curve].oid, octetString(point)), expected);
    t.deepEqual(ecPublicKey(curves[curve].oid, point), expected);
  }
});

test("an EC point that is off its curve, of another curve or compressed is ignored", (t) => {
  const point = ecPoint("nistp256");
  const off = Buffer.from(point);
  off[40] = (off[40] as number) ^ 1;
  const { nistp256, nistp384 } = curves;
  const compressed = Buffer.from([2, ...point.subarray(1, 33)]);
  t.is(
    reasonOf(() => ecPublicKey(nistp256.oid, off)),
    "invalid public key",
  );
  t.is(
    reasonOf(() => ecPublicKey(nistp384.oid, point)),
    "invalid public key",
  );
  t.is(
    reasonOf(() => ecPublicKey(nistp256.oid, compressed)),
    "invalid public key",
  );
  const secp256k1 = Buffer.from("06052b8104000a", "hex");
  t.is(
    reasonOf(() => ecPublicKey(secp256k1, point)),
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

test("Ed25519 is recognized by its OID, its PKCS#11 name and the old OID of GnuPG", (t) => {
  const { publicKey } = generateKeyPairSync("ed25519");
  const raw = jwkPart(publicKey, "x");
  const name = Buffer.concat([Buffer.from([0x13, 12]), Buffer.from("edwards25519")]);
  const params = ["06032b6570", name.toString("hex"), "06092b06010401da470f01"];
  for (const hex of params) {
    const expected = { type: "ed25519" as const, publicKey: raw };
    t.deepEqual(ecPublicKey(Buffer.from(hex, "hex"), octetString(raw)), expected);
    t.deepEqual(ecPublicKey(Buffer.from(hex, "hex"), raw), expected);
  }
  const ed448 = Buffer.from("06032b6571", "hex");
  t.is(
    reasonOf(() => ecPublicKey(ed448, raw)),
    "curve not used by SSH",
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
      t.truthy(reasonOf(() => certifiedPublicKey(other)));
      t.notThrows(() => reasonOf(() => rsaPublicKey(one, other)));
    }),
  );
});
