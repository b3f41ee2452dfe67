/**
 * Public keys from the attributes of PKCS#11 objects (PKCS#11 v3.0, sections 2.1.2, 2.3.3, 2.3.5
 * and 4.6.3). Missing, invalid and unsupported attributes throw `Unusable`, with the reason: a
 * token may hold anything.
 */
import { type JsonWebKey, type KeyObject, X509Certificate } from "node:crypto";
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
import { Unusable } from "./token-objects.ts";

/** CKA_EC_PARAMS of Ed25519: RFC 8410's OID, PKCS#11's name, and GnuPG's old OID. */
const ed25519Params = [
  "06032b6570",
  "130c656477617264733235353139",
  "06092b06010401da470f01",
] as const;

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
 * An ECDSA or Ed25519 key from CKA_EC_PARAMS (a curve's OID in DER) and CKA_EC_POINT (the
 * uncompressed point, or Ed25519's 32 bytes, in a DER OCTET STRING or, from many tokens, raw).
 * @throws {Unusable}
 */
export function ecPublicKey(params: Buffer | undefined, point: Buffer | undefined): PublicKey {
  if (params === undefined || point === undefined) throw new Unusable("no curve or no point");
  const curve =
    Object.values(curves).find(({ oid }) => oid.equals(params)) ?? explicitCurve(params);
  if (curve === undefined) return edwardsPublicKey(params, point);
  const length = 1 + 2 * curve.bytes;
  const raw = point.length === length ? point : octetStringContent(point);
  if (raw === undefined || raw.length !== length || raw[0] !== 4) throw invalidKey();
  return usable({ type: "ecdsa", curve: curve.name, point: raw });
}

/**
 * The curve of explicit ECParameters (RFC 3279, section 2.3.5), which some libraries return instead
 * of its OID. The field and the order identify it.
 */
function explicitCurve(params: Buffer) {
  if (params[0] !== 0x30) return undefined;
  return Object.values(curves).find(({ name }) => {
    const { prime, order } = curveParameters[name];
    return [prime, order].every((number) => params.includes(derInteger(magnitude(number))));
  });
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

function edwardsPublicKey(params: Buffer, point: Buffer): PublicKey {
  if (!ed25519Params.some((known) => known === params.toString("hex"))) {
    throw new Unusable("curve not used by SSH");
  }
  const raw = point.length === 32 ? point : octetStringContent(point);
  if (raw === undefined || raw.length !== 32) throw invalidKey();
  return usable({ type: "ed25519", publicKey: raw });
}

/** The public key of an X.509 certificate in DER (CKA_VALUE). @throws {Unusable} */
export function certifiedPublicKey(der: Buffer | undefined): PublicKey {
  if (der === undefined) throw new Unusable("no certificate in it");
  return usable(fromKeyObject(readCertificate(der)));
}

function readCertificate(der: Buffer): KeyObject {
  try {
    return new X509Certificate(der).publicKey;
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

/** The content of a DER OCTET STRING that fills `bytes`. */
function octetStringContent(bytes: Buffer): Buffer | undefined {
  if (bytes[0] !== 0x04) return undefined;
  const short = bytes[1] as number;
  if (short < 0x80) return bytes.length === 2 + short ? bytes.subarray(2) : undefined;
  if (short === 0x81 && bytes.length === 3 + (bytes[2] ?? 0)) return bytes.subarray(3);
  return undefined;
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

function checkSize(key: PublicKey): void {
  if (key.type !== "rsa" || key.n.length === 0) return;
  const bits = keyBits(key);
  if (bits < minRsaBits) throw new Unusable("RSA below 1,024 bits");
  if (bits > maxRsaBits) throw new Unusable("RSA above 16,384 bits");
}

function invalidKey(): Unusable {
  return new Unusable("invalid public key");
}
