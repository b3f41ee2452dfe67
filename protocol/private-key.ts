/**
 * Private keys as a client hands them to an agent (RFC 9987, section 3.2): the fields of each key
 * type, with or without a certificate.
 *
 * All the buffers in here are secrets or stand beside them: whoever holds one overwrites it.
 */
import { certificateAlgorithm, decodeCertificate, plainAlgorithm } from "./certificate.ts";
import { type Failure, invalidKey, malformed, unknownAlgorithm } from "./failure.ts";
import {
  algorithmName,
  checkModulus,
  type Ed25519PublicKey,
  encodePublicKey,
  type PublicKey,
  readKeyFields,
  type SkEcdsaPublicKey,
  type SkEd25519PublicKey,
  writeKeyFields,
} from "./public-key.ts";
import type { Reader, Writer } from "./wire.ts";

/** What is secret of a private key; magnitudes have their most significant byte first. */
export type SecretFields =
  | {
      readonly type: "rsa";
      readonly d: Buffer;
      readonly iqmp: Buffer;
      readonly p: Buffer;
      readonly q: Buffer;
    }
  /** The scalar, as a magnitude. */
  | { readonly type: "ecdsa"; readonly d: Buffer }
  /** The seed: 32 bytes. */
  | { readonly type: "ed25519"; readonly seed: Buffer }
  /** The exponent, as a magnitude. */
  | { readonly type: "dsa"; readonly x: Buffer }
  /** A key that lives on a FIDO authenticator. */
  | {
      readonly type: "sk-ecdsa" | "sk-ed25519";
      readonly flags: number;
      readonly keyHandle: Buffer;
      readonly reserved: Buffer;
    };

/**
 * A private key with the public key that it belongs to, as `AgentClient.addIdentity` sends it. With a
 * certificate, what is added is the certificate, and the plain key only if it is added by itself.
 */
export interface PrivateKey {
  readonly publicKey: PublicKey;
  readonly secret: SecretFields;
  /** The certificate's blob, when the identity is a certificate. */
  readonly certificate: Buffer | undefined;
}

/** The blob that an identity made from this private key is known by. */
export function identityBlob(key: PrivateKey): Buffer {
  return key.certificate ?? encodePublicKey(key.publicKey);
}

/** Reads a private key, its algorithm name first. @throws {Failure} malformed, unsupported */
export function readPrivateKey(reader: Reader): PrivateKey {
  const algorithm = reader.name();
  const plain = plainAlgorithm(algorithm);
  if (plain === undefined) return readPlain(reader, algorithm);
  const certificate = reader.string();
  const publicKey = decodeCertificate(certificate)?.key;
  if (publicKey === undefined) throw unknownAlgorithm(algorithm);
  if (algorithmName(publicKey) !== plain) {
    throw malformed("A certificate is not of the type that the message names.");
  }
  return { publicKey, secret: readCertifiedSecret(reader, publicKey), certificate };
}

/** Writes a private key; inverts `readPrivateKey`. */
export function writePrivateKey(writer: Writer, key: PrivateKey): void {
  const { publicKey, secret, certificate } = key;
  if (secret.type !== publicKey.type) throw mismatch();
  if (certificate !== undefined) {
    writer.text(certificateAlgorithm(publicKey)).string(certificate);
    if (isEdwards(publicKey)) writer.string(publicKey.publicKey);
    if (isSk(publicKey)) writer.text(publicKey.application);
  } else {
    writer.text(algorithmName(publicKey));
    if (publicKey.type === "rsa") writer.mpint(publicKey.n).mpint(publicKey.e);
    else writeKeyFields(writer, publicKey);
  }
  switch (secret.type) {
    case "rsa":
      writer.mpint(secret.d).mpint(secret.iqmp).mpint(secret.p).mpint(secret.q);
      return;
    case "ecdsa":
      writer.mpint(secret.d);
      return;
    case "ed25519":
      if (publicKey.type !== "ed25519") throw mismatch();
      writer.uint32(64).bytes(secret.seed).bytes(publicKey.publicKey);
      return;
    case "dsa":
      writer.mpint(secret.x);
      return;
    case "sk-ecdsa":
    case "sk-ed25519":
      writer.byte(secret.flags).string(secret.keyHandle).string(secret.reserved);
      return;
  }
}

/** Overwrites what is secret of a private key. */
export function wipePrivateKey({ secret }: PrivateKey): void {
  for (const value of Object.values(secret)) {
    if (Buffer.isBuffer(value)) value.fill(0);
  }
}

/** Outside RSA, whose fields stand in another order, the public key's own fields come first. */
function readPlain(reader: Reader, algorithm: string): PrivateKey {
  if (algorithm === "ssh-rsa") {
    const n = reader.mpint();
    const e = reader.mpint();
    if (e.length === 0) throw invalidKey("An RSA key has no exponent.");
    checkModulus(n);
    return {
      publicKey: { type: "rsa", n, e },
      secret: readRsaSecret(reader),
      certificate: undefined,
    };
  }
  const publicKey = readKeyFields(reader, algorithm);
  if (publicKey === undefined) throw unknownAlgorithm(algorithm);
  return { publicKey, secret: readSecret(reader, publicKey), certificate: undefined };
}

/** A certificate has the public key already, yet Ed25519 and FIDO keys repeat a part of it. */
function readCertifiedSecret(reader: Reader, key: PublicKey): SecretFields {
  if (isEdwards(key) && !reader.string().equals(key.publicKey)) throw mismatch();
  if (isSk(key) && reader.cString() !== key.application) throw mismatch();
  return readSecret(reader, key);
}

function readSecret(reader: Reader, key: PublicKey): SecretFields {
  switch (key.type) {
    case "rsa":
      return readRsaSecret(reader);
    case "ecdsa":
      return { type: "ecdsa", d: reader.mpint() };
    case "ed25519":
      return readEd25519Secret(reader, key.publicKey);
    case "dsa":
      return { type: "dsa", x: reader.mpint() };
    case "sk-ecdsa":
    case "sk-ed25519":
      return readSkSecret(reader, key.type);
  }
}

function readRsaSecret(reader: Reader): SecretFields {
  const d = reader.mpint();
  const iqmp = reader.mpint();
  const p = reader.mpint();
  return { type: "rsa", d, iqmp, p, q: reader.mpint() };
}

function readEd25519Secret(reader: Reader, publicKey: Buffer): SecretFields {
  const both = reader.string();
  if (both.length !== 64) throw malformed("An Ed25519 private key is not 64 bytes long.");
  if (!both.subarray(32).equals(publicKey)) throw mismatch();
  return { type: "ed25519", seed: both.subarray(0, 32) };
}

function readSkSecret(reader: Reader, type: "sk-ecdsa" | "sk-ed25519"): SecretFields {
  const flags = reader.byte();
  const keyHandle = reader.string();
  return { type, flags, keyHandle, reserved: reader.string() };
}

function isEdwards(key: PublicKey): key is Ed25519PublicKey | SkEd25519PublicKey {
  return key.type === "ed25519" || key.type === "sk-ed25519";
}

function isSk(key: PublicKey): key is SkEcdsaPublicKey | SkEd25519PublicKey {
  return key.type === "sk-ecdsa" || key.type === "sk-ed25519";
}

function mismatch(): Failure {
  return invalidKey("A private key does not belong to its public key.");
}
