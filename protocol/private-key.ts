/**
 * Private keys as a client sends them to an agent (RFC 9987, section 3.2): the fields of each key
 * type, with or without a certificate. Buffers that hold secrets must be overwritten after use.
 */
import { certificateAlgorithm, decodeCertificate, plainAlgorithm } from "./certificate.ts";
import { type Failure, invalidKey, malformed, unknownAlgorithm } from "./failure.ts";
import {
  algorithmName,
  ed25519Lengths,
  encodePublicKey,
  halves,
  mlDsaLengths,
  type PublicKey,
  readKeyFields,
  rsaPublicKey,
  writeKeyFields,
} from "./public-key.ts";
import type { Reader, Writer } from "./wire.ts";

/** The secret fields of a private key; magnitudes are big-endian. */
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
  /** Two seeds of 32 bytes each. */
  | { readonly type: "mldsa44-ed25519"; readonly mlDsaSeed: Buffer; readonly ed25519Seed: Buffer }
  /** The exponent, as a magnitude. */
  | { readonly type: "dsa"; readonly x: Buffer }
  /** A key on a FIDO authenticator. */
  | {
      readonly type: "sk-ecdsa" | "sk-ed25519";
      readonly flags: number;
      readonly keyHandle: Buffer;
      readonly reserved: Buffer;
    };

/**
 * A private key with its public key, as `AgentClient.addIdentity` sends it. With a certificate, the
 * agent lists the certificate as the identity, not the plain key.
 */
export interface PrivateKey {
  readonly publicKey: PublicKey;
  readonly secret: SecretFields;
  /** The blob of the key's certificate. */
  readonly certificate: Buffer | undefined;
}

/** The blob that an agent lists for this private key. */
export function identityBlob(key: PrivateKey): Buffer {
  return key.certificate ?? encodePublicKey(key.publicKey);
}

/** Reads an algorithm name and a private key. @throws {Failure} malformed, unsupported */
export function readPrivateKey(reader: Reader): PrivateKey {
  const algorithm = reader.name();
  const plain = plainAlgorithm(algorithm);
  if (plain === undefined) return readPlain(reader, algorithm);
  const certificate = reader.string();
  const publicKey = decodeCertificate(certificate)?.key;
  if (publicKey === undefined) throw unknownAlgorithm(algorithm);
  if (algorithmName(publicKey) !== plain) {
    throw malformed("The certificate's type does not match the one in the message.");
  }
  return { publicKey, secret: readCertifiedSecret(reader, publicKey), certificate };
}

/** Writes a private key; the inverse of `readPrivateKey`. */
export function writePrivateKey(writer: Writer, key: PrivateKey): void {
  const { publicKey, secret, certificate } = key;
  if (secret.type !== publicKey.type) throw mismatch();
  if (certificate !== undefined) {
    writer.text(certificateAlgorithm(publicKey)).string(certificate);
    if ("publicKey" in publicKey) writer.string(publicKey.publicKey);
    if ("application" in publicKey) writer.text(publicKey.application);
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
    case "mldsa44-ed25519":
      writer.uint32(secret.mlDsaSeed.length + secret.ed25519Seed.length);
      writer.bytes(secret.mlDsaSeed).bytes(secret.ed25519Seed);
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

/** The fields are those of the public key, then the secret ones; only RSA has n before e. */
function readPlain(reader: Reader, algorithm: string): PrivateKey {
  const publicKey =
    algorithm === "ssh-rsa"
      ? rsaPublicKey(reader.mpint(), reader.mpint())
      : readKeyFields(reader, algorithm);
  if (publicKey === undefined) throw unknownAlgorithm(algorithm);
  return { publicKey, secret: readSecret(reader, publicKey), certificate: undefined };
}

/** Ed25519 and FIDO keys repeat a part of the public key, which is in the certificate already. */
function readCertifiedSecret(reader: Reader, key: PublicKey): SecretFields {
  if ("publicKey" in key && !reader.string().equals(key.publicKey)) throw mismatch();
  if ("application" in key && reader.cString() !== key.application) throw mismatch();
  return readSecret(reader, key);
}

function readSecret(reader: Reader, key: PublicKey): SecretFields {
  switch (key.type) {
    case "rsa": {
      const [d, iqmp, p] = [reader.mpint(), reader.mpint(), reader.mpint()];
      return { type: "rsa", d, iqmp, p, q: reader.mpint() };
    }
    case "ecdsa":
      return { type: "ecdsa", d: reader.mpint() };
    case "ed25519":
      return readEd25519Secret(reader, key.publicKey);
    case "mldsa44-ed25519":
      return readSeeds(reader);
    case "dsa":
      return { type: "dsa", x: reader.mpint() };
    case "sk-ecdsa":
    case "sk-ed25519": {
      const [flags, keyHandle] = [reader.byte(), reader.string()];
      return { type: key.type, flags, keyHandle, reserved: reader.string() };
    }
  }
}

function readEd25519Secret(reader: Reader, publicKey: Buffer): SecretFields {
  const seedAndPublicKey = reader.string();
  if (seedAndPublicKey.length !== 64) {
    throw malformed("An Ed25519 private key is not 64 bytes long.");
  }
  if (!seedAndPublicKey.subarray(32).equals(publicKey)) throw mismatch();
  return { type: "ed25519", seed: seedAndPublicKey.subarray(0, 32) };
}

function readSeeds(reader: Reader): SecretFields {
  const both = reader.string();
  if (both.length !== mlDsaLengths.seed + ed25519Lengths.seed) {
    throw malformed("An ML-DSA-44 and Ed25519 private key is not 64 bytes long.");
  }
  const [mlDsaSeed, ed25519Seed] = halves(both, mlDsaLengths.seed);
  return { type: "mldsa44-ed25519", mlDsaSeed, ed25519Seed };
}

function mismatch(): Failure {
  return invalidKey("A private key does not belong to its public key.");
}
