/** Private keys in DER for OpenSSL. Invalid numbers are refused here. */
import type { RawPrivateKeyInput } from "node:crypto";
import { derInteger, derSequence, derTagged } from "../../protocol/der.ts";
import { dsaPrivateDer } from "../../protocol/dsa.ts";
import { Failure, invalidKey, malformed } from "../../protocol/failure.ts";
import type { PrivateKey, SecretFields } from "../../protocol/private-key.ts";
import {
  type CurveName,
  curves,
  keyBits,
  maxRsaBits,
  minRsaBits,
  type RsaPublicKey,
} from "../../protocol/public-key.ts";
import { secretBytes } from "../../protocol/secret-bytes.ts";
import { isLess, trimZeros } from "../../protocol/wire.ts";
import { minusOne, modulo } from "./modulo.ts";

type RsaSecret = Extract<SecretFields, { type: "rsa" }>;

/** A private key in DER. */
export interface PrivateDer {
  readonly type: "pkcs1" | "pkcs8" | "sec1";
  /** The length in bytes of the longest secret number in the DER. */
  readonly numberLength: number;
  /** A secret. */
  readonly bytes: Buffer;
  /** Where the DER has the number that alone is the private key; undefined for several numbers. */
  readonly raw: RawPart | undefined;
}

/** The part of a DER from which newer versions of Node.js make a key without OpenSSL's decoders. */
interface RawPart extends Pick<RawPrivateKeyInput, "asymmetricKeyType" | "namedCurve"> {
  /** Its offset in bytes; its length is `numberLength`. */
  readonly at: number;
}

/**
 * The DER of a private key, which the caller overwrites.
 * @throws {Failure} malformed, for invalid numbers; unsupported, for FIDO keys
 */
export function privateDer({ publicKey, secret }: PrivateKey): PrivateDer {
  switch (secret.type) {
    case "rsa":
      if (publicKey.type !== "rsa") break;
      return {
        type: "pkcs1",
        numberLength: publicKey.n.length,
        bytes: rsaDer(publicKey, secret),
        raw: undefined,
      };
    case "ecdsa":
      if (publicKey.type !== "ecdsa") break;
      return ecdsaDer(publicKey.curve, secret.d, publicKey.point);
    case "ed25519":
      return ed25519Der(secret.seed);
    case "mldsa44-ed25519":
      throw new Failure("internal", "A composite key has no encoding in DER.");
    case "dsa":
      if (publicKey.type !== "dsa") break;
      if (secret.x.length === 0 || secret.x.length > publicKey.q.length) {
        throw invalidKey("Invalid DSA private key: out of range.");
      }
      return {
        type: "pkcs8",
        numberLength: publicKey.q.length,
        bytes: dsaPrivateDer(publicKey, secret.x),
        raw: undefined,
      };
    case "sk-ecdsa":
    case "sk-ed25519":
      throw new Failure("unsupported", "A FIDO key cannot sign without its authenticator.");
  }
  throw malformed("The types of the private key and its public key differ.");
}

/** PrivateKeyInfo for Ed25519 up to the seed (RFC 8410, section 7). */
const ed25519Prefix = hex("302e020100300506032b657004220420");

/** The DER of an Ed25519 key, which the caller overwrites. @param seed 32 bytes */
export function ed25519Der(seed: Buffer): PrivateDer {
  return {
    type: "pkcs8",
    numberLength: seed.length,
    bytes: Buffer.concat([ed25519Prefix, seed]),
    raw: { at: ed25519Prefix.length, asymmetricKeyType: "ed25519" },
  };
}

/** RSAPrivateKey (RFC 8017, appendix A.1.2). */
function rsaDer(key: RsaPublicKey, secret: RsaSecret): Buffer {
  const bits = keyBits(key);
  if (bits < minRsaBits) {
    throw invalidKey(`An RSA key of ${bits} bits is too short: the least is ${minRsaBits}.`);
  }
  if (bits > maxRsaBits) {
    throw invalidKey(`An RSA key of ${bits} bits is too long: the most is ${maxRsaBits}.`);
  }
  checkRsaNumbers(key, secret);
  const { d, iqmp, p, q } = secret;
  const pLess = minusOne(p);
  const qLess = minusOne(q);
  const dp = modulo(d, pLess);
  const dq = modulo(d, qLess);
  const numbers = [Buffer.of(0), key.n, key.e, d, p, q, dp, dq, iqmp].map(derInteger);
  const der = derSequence(numbers);
  for (const bytes of [pLess, qLess, dp, dq, ...numbers]) bytes.fill(0);
  return der;
}

/** @throws {Failure} malformed */
function checkRsaNumbers({ n, e }: RsaPublicKey, secret: RsaSecret): void {
  const { d, iqmp, p, q } = secret;
  if ([d, iqmp, p, q].some((number) => isZero(number))) {
    throw invalidKey("Incomplete RSA private key.");
  }
  const isOdd = ((e.at(-1) ?? 0) & 1) === 1;
  if (!isOdd || isLess(e, Buffer.of(3))) {
    throw invalidKey("An RSA key's public exponent is even, or less than 3.");
  }
  if (!isLess(e, n)) throw invalidKey("An RSA key's public exponent is not below its modulus.");
  if (!isLess(d, n)) throw invalidKey("An RSA key's private exponent is not below its modulus.");
  const isPair = isLess(p, n) && isLess(q, n) && !p.equals(q);
  if (!isPair || !isDivisor(p, n) || !isDivisor(q, n)) {
    throw invalidKey("The primes of an RSA private key do not match its modulus.");
  }
  if (!isLess(iqmp, p))
    throw invalidKey("An RSA private key's coefficient is not below its prime.");
}

function isZero(number: Buffer): boolean {
  return number.every((byte) => byte === 0);
}

/** Whether a number above one divides another. */
function isDivisor(number: Buffer, other: Buffer): boolean {
  return number.length > 1 && isZero(modulo(other, number));
}

/** The order of each curve's base point (SP 800-186, section 3.2.1). */
const curveOrders: Record<CurveName, Buffer> = {
  nistp256: hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551"),
  nistp384: hex(`${"f".repeat(48)}c7634d81f4372ddf581a0db248b0a77aecec196accc52973`),
  nistp521: hex(
    `01${"f".repeat(65)}a51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409`,
  ),
};

function hex(text: string): Buffer {
  return Buffer.from(text, "hex");
}

/** ECPrivateKey (RFC 5915). */
function ecdsaDer(curve: CurveName, d: Buffer, point: Buffer): PrivateDer {
  const { bytes, oid } = curves[curve];
  if (isZero(d) || !isLess(d, curveOrders[curve])) {
    throw invalidKey("An ECDSA private key is zero, or not below its curve's order.");
  }
  const scalar = secretBytes(bytes);
  const magnitude = trimZeros(d);
  scalar.set(magnitude, bytes - magnitude.length);
  const version = derInteger(Buffer.of(1));
  const bits = derTagged(0x03, Buffer.concat([Buffer.of(0), point]));
  const octets = derTagged(0x04, scalar);
  const publicParts = [derTagged(0xa0, oid), derTagged(0xa1, bits)];
  const der = derSequence([version, octets, ...publicParts]);
  scalar.fill(0);
  octets.fill(0);
  const at = der.length - Buffer.concat(publicParts).length - bytes;
  const namedCurve = curve.replace("nistp", "P-");
  return {
    type: "sec1",
    numberLength: bytes,
    bytes: der,
    raw: { at, asymmetricKeyType: "ec", namedCurve },
  };
}
