/**
 * Private keys that the agent holds itself: their numbers become a `KeyObject` at once, and every
 * buffer that carried them on the way is overwritten.
 */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { derInteger, derSequence, derTagged } from "../../protocol/der.ts";
import { dsaPrivateDer } from "../../protocol/dsa.ts";
import { Failure, malformed } from "../../protocol/failure.ts";
import type { PrivateKey, SecretFields } from "../../protocol/private-key.ts";
import {
  type CurveName,
  curves,
  keyBits,
  type PublicKey,
  type RsaPublicKey,
} from "../../protocol/public-key.ts";
import { type SignatureAlgorithm, signatureAlgorithm } from "../../protocol/signature.ts";
import { signLater, signNow } from "../../protocol/signing.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { minusOne, modulo } from "./modulo.ts";

/** What signs for an identity: a key in memory, or one on a card. */
export interface Signer {
  /**
   * Signs `data`, which must not change meanwhile.
   * @returns a signature blob, at once where that takes only microseconds
   * @throws {Failure}
   */
  sign(algorithm: SignatureAlgorithm, data: Buffer): Buffer | Promise<Buffer>;
}

const smallestRsa = 1024;
const largestRsa = 16384;

/**
 * Makes a signer of a private key, and proves with one signature that the private key belongs to
 * its public key. The secret fields are the caller's to overwrite.
 * @throws {Failure} malformed; unsupported, for keys on FIDO authenticators
 */
export async function softwareSigner(key: PrivateKey): Promise<Signer> {
  const { publicKey } = key;
  const privateKey = importKey(key);
  const probe = Buffer.from("cardagent: does this private key belong to its public key?");
  const algorithm = signatureAlgorithm(publicKey, 2);
  const signature = await signLater(privateKey, algorithm, probe).catch(() => undefined);
  if (signature === undefined || !verifySignature(publicKey, signature, probe)) {
    throw malformed("The private key does not belong to its public key.");
  }
  return signerFor(publicKey, privateKey);
}

/**
 * Ed25519 and P-256 take less time than handing them to another thread and back; the others go to
 * the thread pool, so that connections do not wait for each other.
 */
function signerFor(publicKey: PublicKey, key: KeyObject): Signer {
  const quick =
    publicKey.type === "ed25519" || (publicKey.type === "ecdsa" && publicKey.curve === "nistp256");
  if (quick) return { sign: (algorithm, data) => signNow(key, algorithm, data) };
  return { sign: (algorithm, data) => signLater(key, algorithm, data) };
}

function importKey({ publicKey, secret }: PrivateKey): KeyObject {
  const parts = derParts(publicKey, secret);
  try {
    return createPrivateKey({ key: parts.der, format: "der", type: parts.type });
  } catch {
    throw malformed("The numbers of a private key make no key.");
  } finally {
    parts.der.fill(0);
  }
}

function derParts(
  publicKey: PublicKey,
  secret: SecretFields,
): { readonly type: "pkcs1" | "pkcs8" | "sec1"; readonly der: Buffer } {
  switch (secret.type) {
    case "rsa":
      if (publicKey.type !== "rsa") break;
      return { type: "pkcs1", der: rsaDer(publicKey, secret) };
    case "ecdsa":
      if (publicKey.type !== "ecdsa") break;
      return { type: "sec1", der: ecdsaDer(publicKey.curve, secret.d, publicKey.point) };
    case "ed25519":
      return { type: "pkcs8", der: Buffer.concat([ed25519Prefix, secret.seed]) };
    case "dsa":
      if (publicKey.type !== "dsa") break;
      if (secret.x.length === 0 || secret.x.length > publicKey.q.length) {
        throw malformed("A DSA private key is out of range.");
      }
      return { type: "pkcs8", der: dsaPrivateDer(publicKey, secret.x) };
    case "sk-ecdsa":
    case "sk-ed25519":
      throw new Failure("unsupported", "A key on a FIDO authenticator has no number to sign with.");
  }
  throw malformed("A private key is not of its public key's type.");
}

/** PrivateKeyInfo for Ed25519 up to the seed (RFC 8410, section 7). */
const ed25519Prefix = Buffer.from("302e020100300506032b657004220420", "hex");

/** RSAPrivateKey (RFC 8017, appendix A.1.2). */
function rsaDer(key: RsaPublicKey, secret: Extract<SecretFields, { type: "rsa" }>): Buffer {
  const bits = keyBits(key);
  if (bits < smallestRsa || bits > largestRsa) {
    throw malformed(`An RSA key of ${bits} bits is not accepted: ${smallestRsa} is the least.`);
  }
  const { d, iqmp, p, q } = secret;
  if ([p, q, d, iqmp].some(({ length }) => length === 0 || length > key.n.length)) {
    throw malformed("An RSA private key lacks a number.");
  }
  if (p.equals(q) || !isDivisor(p, key.n) || !isDivisor(q, key.n)) {
    throw malformed("An RSA private key's primes are not those of its modulus.");
  }
  const pLess = minusOne(p);
  const qLess = minusOne(q);
  const dp = modulo(d, pLess);
  const dq = modulo(d, qLess);
  const numbers = [Buffer.of(0), key.n, key.e, d, p, q, dp, dq, iqmp].map(derInteger);
  const der = derSequence(numbers);
  for (const bytes of [pLess, qLess, dp, dq, ...numbers]) bytes.fill(0);
  return der;
}

/** Whether a number above one divides another. */
function isDivisor(number: Buffer, other: Buffer): boolean {
  const rest = modulo(other, number);
  return number.length > 1 && rest.every((byte) => byte === 0);
}

/** ECPrivateKey (RFC 5915). */
function ecdsaDer(curve: CurveName, d: Buffer, point: Buffer): Buffer {
  const { bytes, oid } = curves[curve];
  if (d.length === 0 || d.length > bytes) throw malformed("An ECDSA private key is out of range.");
  const scalar = Buffer.alloc(bytes);
  scalar.set(d, bytes - d.length);
  const version = derInteger(Buffer.of(1));
  const bits = derTagged(0x03, Buffer.concat([Buffer.of(0), point]));
  const octets = derTagged(0x04, scalar);
  const der = derSequence([version, octets, derTagged(0xa0, oid), derTagged(0xa1, bits)]);
  scalar.fill(0);
  octets.fill(0);
  return der;
}
