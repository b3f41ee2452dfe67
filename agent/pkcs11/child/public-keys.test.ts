import { generateKeyPairSync, type KeyObject } from "node:crypto";
import test from "ava";
import fc from "fast-check";
import { type CurveName, curves } from "../../../protocol/public-key.ts";
import { certifiedPublicKey, ecPublicKey, rsaPublicKey } from "./public-keys.ts";

const curveNames = Object.keys(curves) as CurveName[];

function jwkPart(key: KeyObject, name: "x" | "y" | "n" | "e"): Buffer {
  return Buffer.from(key.export({ format: "jwk" })[name] ?? "", "base64url");
}

function ecPoint(curve: CurveName): Buffer {
  const { publicKey } = generateKeyPairSync("ec", { namedCurve: curves[curve].jwk });
  return Buffer.concat([Buffer.from([4]), jwkPart(publicKey, "x"), jwkPart(publicKey, "y")]);
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
  t.is(ecPublicKey(curves.nistp256.oid, off), undefined);
  t.is(ecPublicKey(curves.nistp384.oid, point), undefined);
  t.is(ecPublicKey(curves.nistp256.oid, Buffer.from([2, ...point.subarray(1, 33)])), undefined);
  t.is(ecPublicKey(Buffer.from("06052b8104000a", "hex"), point), undefined);
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
    t.is(ecPublicKey(params.subarray(0, 60), point), undefined);
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
  t.is(ecPublicKey(Buffer.from("06032b6571", "hex"), raw), undefined);
});

test("RSA numbers may have leading zeros, and keys under 1024 bits are ignored", (t) => {
  const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const n = jwkPart(publicKey, "n");
  const padded = Buffer.concat([Buffer.alloc(1), n]);
  const e = Buffer.from([0, 1, 0, 1]);
  t.deepEqual(rsaPublicKey(padded, e), { type: "rsa", n, e: Buffer.from([1, 0, 1]) });
  const short = generateKeyPairSync("rsa", { modulusLength: 768 }).publicKey;
  t.is(rsaPublicKey(jwkPart(short, "n"), e), undefined);
});

test("garbage and missing attributes give no key and no error", (t) => {
  const maybe = fc.option(
    fc.uint8Array({ maxLength: 140 }).map((array) => Buffer.from(array)),
    { nil: undefined },
  );
  const params = fc.oneof(maybe, fc.constantFrom(...curveNames.map((name) => curves[name].oid)));
  fc.assert(
    fc.property(params, maybe, (one, other) => {
      t.is(ecPublicKey(one, other), undefined);
      t.is(certifiedPublicKey(other), undefined);
      t.notThrows(() => rsaPublicKey(one, other));
    }),
  );
});
