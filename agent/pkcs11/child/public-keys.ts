/**
 * Public keys from the attributes of PKCS#11 objects (PKCS#11 v3.0, sections 2.1.2, 2.3.3, 2.3.5
 * and 4.6.3). Missing, invalid and unsupported attributes throw `Unusable`, with the reason: a
 * token may hold anything.
 */
import {
  createPublicKey,
  ECDH,
  type JsonWebKey,
  type KeyObject,
  X509Certificate,
} from "node:crypto";
import { derInteger } from "../../../protocol/der.ts";
import { toKeyObject } from "../../../protocol/key-object.ts";
import {
  type CurveName,
  curves,
  decodePublicKey,
  encodePublicKey,
  keyBits,
  maxRsaBits,
  minRsaBits,
  type PublicKey,
} from "../../../protocol/public-key.ts";
import { trimZeros } from "../../../protocol/wire.ts";

/** Why an object cannot be used: a phrase such as "no private key". */
export class Unusable extends Error {}

/** Loads OpenSSL's key decoders, so that the first key need not wait for them. */
export function getReadyForKeys(): void {
  usable({ type: "ed25519", publicKey: Buffer.alloc(32) });
}

/**
 * An RSA key from CKA_MODULUS and CKA_PUBLIC_EXPONENT: magnitudes, most significant byte first.
 * @throws {Unusable}
 */
export function rsaPublicKey(modulus: Buffer | undefined, exponent: Buffer | undefined): PublicKey {
  if (modulus === undefined || exponent === undefined) {
    throw new Unusable("no modulus or no exponent");
  }
  return usable({ type: "rsa", n: trimZeros(modulus), e: trimZeros(exponent) });
}

/**
 * An ECDSA or Ed25519 key from CKA_EC_PARAMS (`curveOf`) and CKA_EC_POINT (`pointForms`).
 * @param isEdwards whether CKA_KEY_TYPE is CKK_EC_EDWARDS
 * @throws {Unusable}
 */
export function ecPublicKey(
  params: Buffer | undefined,
  point: Buffer | undefined,
  isEdwards = false,
): PublicKey {
  if (params === undefined || point === undefined) throw new Unusable("no curve or no point");
  const curve = curveOf(params, isEdwards);
  if (curve === undefined) throw new Unusable("curve not used by SSH");
  for (const form of pointForms(point)) {
    const key = curve === "ed25519" ? edwardsKey(form) : ecdsaKey(curve, form);
    if (key !== undefined) return key;
  }
  throw invalidKey();
}

/** An ECDSA key from a point: uncompressed, with bytes behind it, without its 04, or compressed. */
function ecdsaKey(name: CurveName, point: Buffer): PublicKey | undefined {
  const { bytes } = curves[name];
  const length = 1 + 2 * bytes;
  if (point.length >= length && point[0] === 4) {
    const key = tryUsable({ type: "ecdsa", curve: name, point: point.subarray(0, length) });
    if (key !== undefined) return key;
  }
  if (point.length === 2 * bytes) {
    return tryUsable({ type: "ecdsa", curve: name, point: Buffer.concat([Buffer.of(4), point]) });
  }
  if (point.length !== 1 + bytes || (point[0] !== 2 && point[0] !== 3)) return undefined;
  const whole = decompress(name, point);
  return whole && tryUsable({ type: "ecdsa", curve: name, point: whole });
}

/** OpenSSL's names, for `ECDH.convertKey`. */
const opensslNames = {
  nistp256: "prime256v1",
  nistp384: "secp384r1",
  nistp521: "secp521r1",
} as const;

function decompress(name: CurveName, point: Buffer): Buffer | undefined {
  try {
    const whole = ECDH.convertKey(point, opensslNames[name], undefined, undefined, "uncompressed");
    return Buffer.isBuffer(whole) ? whole : undefined;
  } catch {
    return undefined;
  }
}

/** An Ed25519 key from its 32 bytes, or, as in OpenPGP, with 40 (hexadecimal) before them. */
function edwardsKey(point: Buffer): PublicKey | undefined {
  const publicKey = point.length === 33 && point[0] === 0x40 ? point.subarray(1) : point;
  return publicKey.length === 32 ? tryUsable({ type: "ed25519", publicKey }) : undefined;
}

/**
 * What the bytes of a CKA_EC_POINT may be: the point, or, as PKCS#11 asks, an OCTET STRING with it.
 * Some tokens use a BIT STRING, or wrap it twice. A point that is not on its curve is refused later,
 * so a form may be guessed.
 */
function* pointForms(bytes: Buffer): Generator<Buffer> {
  yield bytes;
  const content = stringContent(bytes);
  if (content !== undefined) yield* pointForms(content);
}

/** The content of a DER OCTET STRING or BIT STRING that begins `bytes`. */
function stringContent(bytes: Buffer): Buffer | undefined {
  const start = bytes[1] === 0x81 ? 3 : 2;
  const end = start + (bytes[start - 1] ?? 0);
  if (end === start || end > bytes.length) return undefined;
  if (bytes[0] === 0x04) return bytes.subarray(start, end);
  return bytes[0] === 0x03 ? bytes.subarray(start + 1, end) : undefined;
}

/** Names of curves in CKA_EC_PARAMS, in lower case, letters and digits only. */
const curveNames: ReadonlyMap<string, CurveName | "ed25519"> = new Map([
  ...["secp256r1", "prime256v1", "p256", "nistp256"].map((name) => [name, "nistp256"] as const),
  ...["secp384r1", "p384", "nistp384", "ansip384r1"].map((name) => [name, "nistp384"] as const),
  ...["secp521r1", "p521", "nistp521", "ansip521r1"].map((name) => [name, "nistp521"] as const),
  ["edwards25519", "ed25519"],
  ["ed25519", "ed25519"],
]);

/** Ed25519's OIDs: of RFC 8410, and GnuPG's old one. */
const ed25519Oids = ["06032b6570", "06092b06010401da470f01"];

/** Names of Curve25519, which are Ed25519's if the key is of type CKK_EC_EDWARDS. */
const curve25519Names = ["curve25519", "x25519"];

/**
 * The curve of CKA_EC_PARAMS: an OID in DER, a name (a PrintableString, or other text), or explicit
 * parameters.
 * @param isEdwards whether CKA_KEY_TYPE is CKK_EC_EDWARDS
 * @returns undefined for curves that SSH does not use
 */
export function curveOf(params: Buffer, isEdwards = false): CurveName | "ed25519" | undefined {
  switch (params[0]) {
    case 0x06: {
      const oid = params.subarray(0, 2 + (params[1] ?? 0));
      if (ed25519Oids.includes(oid.toString("hex"))) return "ed25519";
      return Object.values(curves).find((curve) => curve.oid.equals(oid))?.name;
    }
    case 0x30:
      return explicitCurve(params);
    default: {
      const isString = params.length > 2 && params[1] === params.length - 2;
      const text = (isString ? params.subarray(2) : params).toString("latin1");
      const name = text.toLowerCase().replaceAll(/[^a-z0-9]/g, "");
      if (isEdwards && curve25519Names.includes(name)) return "ed25519";
      return curveNames.get(name);
    }
  }
}

/**
 * The curve of explicit ECParameters (RFC 3279, section 2.3.5), which some libraries return instead
 * of its OID. The field and the order identify it.
 */
function explicitCurve(params: Buffer): CurveName | undefined {
  return Object.values(curves).find(({ name }) => {
    const { prime, order } = curveParameters[name];
    return [prime, order].every((number) => params.includes(derInteger(magnitude(number))));
  })?.name;
}

/** The prime of each curve's field and the order of its base point (FIPS 186-4, appendix D.1.2). */
const curveParameters: Readonly<Record<CurveName, { prime: bigint; order: bigint }>> = {
  nistp256: {
    prime: 2n ** 256n - 2n ** 224n + 2n ** 192n + 2n ** 96n - 1n,
    order: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  },
  nistp384: {
    prime: 2n ** 384n - 2n ** 128n - 2n ** 96n + 2n ** 32n - 1n,
    order:
      0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  },
  nistp521: {
    prime: 2n ** 521n - 1n,
    order:
      2n ** 521n -
      2n ** 264n +
      0xfa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409n,
  },
};

function magnitude(number: bigint): Buffer {
  const hex = number.toString(16);
  return Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, "hex");
}

/** The public key of a SubjectPublicKeyInfo in DER (CKA_PUBLIC_KEY_INFO). @throws {Unusable} */
export function infoPublicKey(der: Buffer): PublicKey {
  try {
    return usable(fromKeyObject(createPublicKey({ key: der, format: "der", type: "spki" })));
  } catch (error) {
    throw error instanceof Unusable ? error : invalidKey();
  }
}

/** What an X.509 certificate says. */
interface CertifiedKey {
  readonly publicKey: PublicKey;
  /** Whether it is that of a CA, as many self-signed ones are, too. */
  readonly isAuthority: boolean;
}

/** Reads an X.509 certificate in DER (CKA_VALUE). @throws {Unusable} */
export function readCertificate(der: Buffer | undefined): CertifiedKey {
  if (der === undefined) throw new Unusable("no certificate in it");
  const { publicKey, isAuthority } = parseCertificate(der);
  return { publicKey: usable(fromKeyObject(publicKey)), isAuthority };
}

function parseCertificate(der: Buffer) {
  try {
    const { publicKey, ca } = new X509Certificate(der);
    return { publicKey, isAuthority: ca };
  } catch {
    throw new Unusable("invalid certificate");
  }
}

/** @throws {Unusable} */
function fromKeyObject(key: KeyObject): PublicKey {
  const { n, e, crv, x, y } = exportJwk(key);
  switch (key.asymmetricKeyType) {
    case "rsa":
      return { type: "rsa", n: number(n), e: number(e) };
    case "ec": {
      const curve = Object.values(curves).find(({ jwk }) => jwk === crv)?.name;
      if (curve === undefined) throw new Unusable("curve not used by SSH");
      return { type: "ecdsa", curve, point: toPoint(curve, x, y) };
    }
    case "ed25519":
      return { type: "ed25519", publicKey: number(x) };
    default:
      throw new Unusable("key type not used by SSH");
  }
}

/** As JWK; without a curve for those that JWK has no name for. */
function exportJwk(key: KeyObject): JsonWebKey {
  try {
    return key.export({ format: "jwk" });
  } catch {
    return {};
  }
}

function toPoint(curve: CurveName, x: string | undefined, y: string | undefined): Buffer {
  const point = Buffer.alloc(1 + 2 * curves[curve].bytes, 0);
  point[0] = 4;
  const [left, right] = [number(x), number(y)];
  point.set(left, 1 + curves[curve].bytes - left.length);
  point.set(right, point.length - right.length);
  return point;
}

function number(text: string | undefined): Buffer {
  return Buffer.from(text ?? "", "base64url");
}

/** The key, if OpenSSL accepts it, its size is supported and its blob decodes again. */
function usable(key: PublicKey): PublicKey {
  checkSize(key);
  try {
    toKeyObject(key);
    return decodePublicKey(encodePublicKey(key)) ?? key;
  } catch {
    throw invalidKey();
  }
}

/** The key; undefined if its point is not on its curve. */
function tryUsable(key: PublicKey): PublicKey | undefined {
  try {
    return usable(key);
  } catch {
    return undefined;
  }
}

function checkSize(key: PublicKey): void {
  if (key.type !== "rsa" || key.n.length === 0) return;
  const bits = keyBits(key);
  if (bits < minRsaBits) throw new Unusable("RSA below 1,024 bits");
  if (bits > maxRsaBits) throw new Unusable("RSA above 16,384 bits");
}

function invalidKey(): Unusable {
  return new Unusable("invalid public key");
}
