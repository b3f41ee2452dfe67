/**
 * Private keys in DER: RSAPrivateKey (RFC 8017, A.1.2), ECPrivateKey (RFC 5915), OpenSSL's
 * DSAPrivateKey, and PrivateKeyInfo and OneAsymmetricKey (PKCS#8; RFC 5958).
 *
 * Secret fields are views of the input. OpenSSL gets a secret only to compute a missing public key.
 */
import { createECDH, createPrivateKey, createPublicKey } from "node:crypto";
import { garbageCollector } from "../../openssh/garbage-collector.ts";
import { derSequence, derTagged } from "../../protocol/der.ts";
import type { DsaPublicKey } from "../../protocol/dsa.ts";
import type { PrivateKey } from "../../protocol/private-key.ts";
import { type CurveName, curves } from "../../protocol/public-key.ts";
import { secretBytes } from "../../protocol/secret-bytes.ts";
import { trimZeros } from "../../protocol/wire.ts";
import { Elements, tags, wholeBytes } from "./der.ts";
import { damaged, invalidFormat } from "./loaded-key.ts";

/** Called after use of a `KeyObject`, so that OpenSSL overwrites the key. */
const collectGarbage = garbageCollector();

/** RSAPrivateKey. @throws {KeyFileError} */
export function readRsaKey(der: Buffer): PrivateKey {
  const elements = Elements.ofSequence(der);
  if (elements.number() !== 0)
    throw invalidFormat("RSA keys of more than two primes are not supported.");
  const [n, e, d, p, q] = [
    elements.integer(),
    elements.integer(),
    elements.integer(),
    elements.integer(),
    elements.integer(),
  ];
  // The CRT exponents are not sent to the agent.
  elements.integer().fill(0);
  elements.integer().fill(0);
  const iqmp = elements.integer();
  elements.end();
  return {
    publicKey: { type: "rsa", n, e },
    secret: { type: "rsa", d, p, q, iqmp },
    certificate: undefined,
  };
}

/**
 * ECPrivateKey.
 * @param parameters the curve in DER, which PKCS#8 has outside the key
 * @throws {KeyFileError}
 */
export function readEcKey(der: Buffer, parameters?: Buffer): PrivateKey {
  const elements = Elements.ofSequence(der);
  if (elements.number() !== 1) throw damaged();
  const d = trimZeros(elements.next(tags.octetString));
  const own = elements.optional(tags.context0);
  const bitString = elements.optional(tags.context1);
  elements.end();
  const curve = own ?? parameters;
  if (curve === undefined) throw damaged();
  const encoded = bitString && new Elements(bitString).bits();
  const found = encoded === undefined ? computePoint(curve, d) : readPoint(curve, encoded);
  return {
    publicKey: { type: "ecdsa", ...found },
    secret: { type: "ecdsa", d },
    certificate: undefined,
  };
}

const ecPublicKey = Buffer.from("06072a8648ce3d0201", "hex");

/** Curves by OpenSSL's names. */
const curveNames = new Map<string | undefined, CurveName>([
  ["prime256v1", "nistp256"],
  ["secp384r1", "nistp384"],
  ["secp521r1", "nistp521"],
]);

/**
 * Converts a point to uncompressed form. It may be compressed, and its curve given explicitly.
 * @param parameters ECParameters in DER
 */
function readPoint(parameters: Buffer, encoded: Buffer) {
  const bits = derTagged(tags.bitString, Buffer.concat([Buffer.of(0), encoded]));
  const spki = derSequence([derSequence([ecPublicKey, parameters]), bits]);
  let key: ReturnType<typeof createPublicKey>;
  try {
    key = createPublicKey({ key: spki, format: "der", type: "spki" });
  } catch {
    throw curveOf(parameters) === undefined ? unsupportedCurve(undefined) : damaged();
  }
  const name = key.asymmetricKeyDetails?.namedCurve;
  const curve = curveNames.get(name);
  if (curve === undefined) throw unsupportedCurve(name);
  const { x = "", y = "" } = key.export({ format: "jwk" });
  const coordinates = [Buffer.from(x, "base64url"), Buffer.from(y, "base64url")];
  return { curve, point: Buffer.concat([Buffer.of(4), ...coordinates]) };
}

/** Computes the point that a file leaves out. */
function computePoint(parameters: Buffer, d: Buffer) {
  const curve = curveOf(parameters);
  const name = [...curveNames].find(([, known]) => known === curve)?.[0];
  if (curve === undefined || name === undefined) throw unsupportedCurve(undefined);
  const scalar = secretBytes(curves[curve].bytes);
  try {
    if (d.length > scalar.length) throw damaged();
    scalar.set(d, scalar.length - d.length);
    return { curve, point: clearKeysAfter(() => multiply(name, scalar)) };
  } catch {
    throw damaged();
  } finally {
    scalar.fill(0);
  }
}

function multiply(name: string, scalar: Buffer): Buffer {
  const pair = createECDH(name);
  pair.setPrivateKey(scalar);
  return pair.getPublicKey();
}

function curveOf(parameters: Buffer): CurveName | undefined {
  return Object.values(curves).find(({ oid }) => oid.equals(parameters))?.name;
}

function unsupportedCurve(name: string | undefined) {
  const which = name === undefined ? "this curve" : `the curve ${name}`;
  return invalidFormat(
    `ECDSA keys on ${which} are not supported: SSH has nistp256, nistp384 and nistp521.`,
  );
}

/** OpenSSL's DSAPrivateKey. @throws {KeyFileError} */
export function readDsaKey(der: Buffer): PrivateKey {
  const elements = Elements.ofSequence(der);
  if (elements.number() !== 0) throw damaged();
  const [p, q, g, y, x] = [
    elements.integer(),
    elements.integer(),
    elements.integer(),
    elements.integer(),
    elements.integer(),
  ];
  elements.end();
  return dsaKey({ type: "dsa", p, q, g, y }, x);
}

function dsaKey(publicKey: DsaPublicKey, x: Buffer): PrivateKey {
  return { publicKey, secret: { type: "dsa", x }, certificate: undefined };
}

/** PrivateKeyInfo, or OneAsymmetricKey with its public key. @throws {KeyFileError} */
export function readPkcs8(der: Buffer): PrivateKey {
  const elements = Elements.ofSequence(der);
  if (elements.number() > 1) throw damaged();
  const algorithm = elements.sequence();
  const oid = algorithm.oid();
  const parameters = algorithm.any();
  const key = elements.next(tags.octetString);
  elements.optional(tags.context0);
  const attached = elements.optional(tags.context1Primitive);
  elements.end();
  switch (oid) {
    case "1.2.840.113549.1.1.1":
      return readRsaKey(key);
    case "1.2.840.10045.2.1":
      return readEcKey(key, parameters?.encoded);
    case "1.3.101.112":
      return readEd25519Key(key, attached && wholeBytes(attached));
    case "1.2.840.10040.4.1": {
      const numbers = new Elements(parameters?.value ?? Buffer.alloc(0));
      const [p, q, g] = [numbers.integer(), numbers.integer(), numbers.integer()];
      const x = new Elements(key).integer();
      return dsaKey({ type: "dsa", p, q, g, y: computeDsaY(der) }, x);
    }
    default:
      throw invalidFormat(`Keys of the type "${otherTypes[oid] ?? oid}" are not supported.`);
  }
}

/** Names for key types without an SSH algorithm. */
const otherTypes: Readonly<Record<string, string>> = {
  "1.2.840.113549.1.1.10": "rsa-pss",
  "1.2.840.113549.1.3.1": "dh",
  "1.3.101.110": "x25519",
  "1.3.101.111": "x448",
  "1.3.101.113": "ed448",
};

/** CurvePrivateKey (RFC 8410, section 7). */
function readEd25519Key(wrapped: Buffer, attached: Buffer | undefined): PrivateKey {
  const elements = new Elements(wrapped);
  const seed = elements.next(tags.octetString);
  elements.end();
  if (seed.length !== 32) throw damaged();
  const publicKey = ed25519PublicKey(seed);
  if (attached !== undefined && !attached.equals(publicKey)) throw keyMismatch();
  return {
    publicKey: { type: "ed25519", publicKey },
    secret: { type: "ed25519", seed },
    certificate: undefined,
  };
}

/** PrivateKeyInfo for Ed25519 up to the seed. */
const ed25519Prefix = Buffer.from("302e020100300506032b657004220420", "hex");

/** The public key for a seed, 32 bytes. */
export function ed25519PublicKey(seed: Buffer): Buffer {
  const der = secretBytes(ed25519Prefix.length + seed.length);
  ed25519Prefix.copy(der);
  seed.copy(der, ed25519Prefix.length);
  try {
    return publicKeyInfo(der).subarray(-32);
  } finally {
    der.fill(0);
  }
}

function computeDsaY(der: Buffer): Buffer {
  const spki = Elements.ofSequence(publicKeyInfo(der));
  spki.sequence();
  return new Elements(spki.bits()).integer();
}

/** SubjectPublicKeyInfo for a key in PKCS#8. */
function publicKeyInfo(pkcs8: Buffer): Buffer {
  try {
    return clearKeysAfter(() =>
      createPublicKey(createPrivateKey({ key: pkcs8, format: "der", type: "pkcs8" })).export({
        format: "der",
        type: "spki",
      }),
    );
  } catch {
    throw damaged();
  }
}

/** Runs an action, then collects its `KeyObject`s, which V8 keeps until the action's frame returns. */
export function clearKeysAfter<Result>(action: () => Result): Result {
  try {
    return action();
  } finally {
    collectGarbage({ type: "minor" });
  }
}

/** The private key belongs to another public key. */
export function keyMismatch() {
  return invalidFormat("The file's private key does not belong to its public key.");
}

/**
 * Whether bytes begin like a private key in DER: a SEQUENCE, then a version of 0 or 1. The output of
 * a wrong passphrase does so once in a thousand million times.
 */
export function startsLikePrivateKey(der: Buffer): boolean {
  const lengthByte = der[1] ?? 0;
  const width = lengthByte < 0x80 ? 0 : lengthByte & 0x7f;
  const [tag, length, version] = der.subarray(2 + width);
  return (
    der[0] === tags.sequence &&
    width <= 2 &&
    tag === tags.integer &&
    length === 1 &&
    (version === 0 || version === 1)
  );
}
