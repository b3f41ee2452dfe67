/** The private part of OpenSSH's private key files (PROTOCOL.key). */
import { createDecipheriv, type DecipherGCM } from "node:crypto";
import { parseKeyOrCertificate } from "../../protocol/certificate.ts";
import { Failure } from "../../protocol/failure.ts";
import { mlDsaPublicKey } from "../../protocol/ml-dsa-key.ts";
import { identityBlob, type PrivateKey, readPrivateKey } from "../../protocol/private-key.ts";
import { blobAlgorithm } from "../../protocol/public-key.ts";
import { Reader } from "../../protocol/wire.ts";
import { openChaChaPoly } from "./chacha-poly.ts";
import { decrypt } from "./decrypt.ts";
import { type Announce, checkCost, type Derivation, derive } from "./key-derivation.ts";
import {
  damaged,
  invalidFormat,
  KeyFileError,
  type LoadedKey,
  unknownEncryption,
  wrongPassphrase,
} from "./loaded-key.ts";
import type { Container } from "./openssh-container.ts";
import { clearKeysAfter, ed25519PublicKey, keyMismatch } from "./private-key-der.ts";

interface Cipher {
  /** OpenSSL's name. */
  readonly name: string;
  /** Bytes. */
  readonly key: number;
  readonly iv: number;
  readonly tag: number;
  /** The private part's length is a multiple of this. */
  readonly block: number;
}

const chachaPoly = "chacha20-poly1305@openssh.com";

const ciphers: Readonly<Record<string, Cipher>> = {
  none: { name: "none", key: 0, iv: 0, tag: 0, block: 8 },
  "3des-cbc": { name: "des-ede3-cbc", key: 24, iv: 8, tag: 0, block: 8 },
  "aes128-cbc": { name: "aes-128-cbc", key: 16, iv: 16, tag: 0, block: 16 },
  "aes192-cbc": { name: "aes-192-cbc", key: 24, iv: 16, tag: 0, block: 16 },
  "aes256-cbc": { name: "aes-256-cbc", key: 32, iv: 16, tag: 0, block: 16 },
  "rijndael-cbc@lysator.liu.se": { name: "aes-256-cbc", key: 32, iv: 16, tag: 0, block: 16 },
  "aes128-ctr": { name: "aes-128-ctr", key: 16, iv: 16, tag: 0, block: 16 },
  "aes192-ctr": { name: "aes-192-ctr", key: 24, iv: 16, tag: 0, block: 16 },
  "aes256-ctr": { name: "aes-256-ctr", key: 32, iv: 16, tag: 0, block: 16 },
  "aes128-gcm@openssh.com": { name: "aes-128-gcm", key: 16, iv: 12, tag: 16, block: 16 },
  "aes256-gcm@openssh.com": { name: "aes-256-gcm", key: 32, iv: 12, tag: 16, block: 16 },
  [chachaPoly]: { name: chachaPoly, key: 64, iv: 0, tag: 16, block: 8 },
};

/**
 * Decrypts and reads a private key.
 * @param passphrase empty for none
 * @throws {KeyFileError} for an incomplete file or an excessive cost, whatever the passphrase
 */
export async function openContainer(
  container: Container,
  passphrase: Buffer,
  announce?: Announce,
): Promise<LoadedKey> {
  const cipher = ciphers[container.cipher];
  if (cipher === undefined) throw unknownEncryption(container.cipher);
  checkHeader(container, cipher);
  if (container.cipher === "none") return readPrivatePart(container, Buffer.from(container.body));
  const derivation = readDerivation(container);
  const length = cipher.key + cipher.iv;
  checkCost(derivation, length);
  if (passphrase.length === 0) throw wrongPassphrase();
  const secret = await derive(derivation, passphrase, length, announce);
  try {
    const { plain, isAuthentic } = await decryptPart(container, cipher, secret);
    if (isAuthentic) return readPrivatePart(container, plain);
    const isRight = provesPassphrase(container, plain);
    plain.fill(0);
    throw isRight ? damaged() : wrongPassphrase();
  } finally {
    secret.fill(0);
  }
}

/** Checks that need no passphrase. @throws {KeyFileError} */
function checkHeader({ publicKey, body, tag }: Container, cipher: Cipher): void {
  if (body.length === 0 || body.length % cipher.block !== 0) throw damaged();
  if (tag.length !== cipher.tag) throw damaged();
  if (parseKeyOrCertificate(publicKey) === undefined) throw unknownType(blobAlgorithm(publicKey));
}

function unknownType(algorithm: string): KeyFileError {
  return invalidFormat(`Keys of the type "${algorithm}" are not supported.`);
}

function readDerivation({ derivation, derivationOptions }: Container): Derivation {
  if (derivation !== "bcrypt") {
    throw invalidFormat(`The key derivation "${derivation}" is not supported.`);
  }
  const options = new Reader(derivationOptions);
  const salt = options.string();
  const rounds = options.uint32();
  if (options.remaining > 0 || salt.length === 0 || rounds === 0) throw damaged();
  return { type: "bcrypt", salt, rounds };
}

/** Decrypts, and verifies the tag if the cipher has one. */
async function decryptPart({ body, tag }: Container, cipher: Cipher, secret: Buffer) {
  const key = secret.subarray(0, cipher.key);
  if (cipher.name === chachaPoly) return openChaChaPoly(key.subarray(0, 32), body, tag);
  const iv = secret.subarray(cipher.key);
  if (cipher.tag > 0) {
    const name = cipher.name as "aes-128-gcm" | "aes-256-gcm";
    const decipher = createDecipheriv(name, key, iv, { authTagLength: cipher.tag });
    decipher.setAuthTag(tag);
    const plain = decrypt(decipher, body);
    return { plain, isAuthentic: isTagValid(decipher) };
  }
  // PROTOCOL.key defines the padding, so the cipher's is off and `final` returns nothing.
  const decipher = createDecipheriv(cipher.name, key, iv).setAutoPadding(false);
  const plain = decrypt(decipher, body);
  decipher.final();
  return { plain, isAuthentic: true };
}

function isTagValid(decipher: DecipherGCM): boolean {
  try {
    decipher.final();
    return true;
  } catch {
    return false;
  }
}

/**
 * Whether the passphrase was right: the private part begins with two equal checkints and the public
 * key's algorithm name. One of these suffices, as the other may be damaged.
 */
function provesPassphrase({ publicKey }: Container, plain: Buffer): boolean {
  const isEqual = plain.length >= 8 && plain.readUInt32BE(0) === plain.readUInt32BE(4);
  const name = publicKey.subarray(0, 4 + blobAlgorithm(publicKey).length);
  return isEqual || plain.subarray(8, 8 + name.length).equals(name);
}

/** Reads the checkints, the key, its comment and the padding. */
function readPrivatePart(container: Container, plain: Buffer): LoadedKey {
  try {
    const reader = new Reader(plain);
    const [first, second] = [reader.uint32(), reader.uint32()];
    if (first !== second) {
      const isRight = container.cipher === "none" || provesPassphrase(container, plain);
      throw isRight ? damaged() : wrongPassphrase();
    }
    const key = readPrivateKey(reader);
    const comment = reader.text();
    const isPadded = reader.rest().every((byte, index) => byte === ((index + 1) & 0xff));
    if (!isPadded || !identityBlob(key).equals(container.publicKey)) throw damaged();
    checkSeeds(key);
    return { key, comment };
  } catch (error) {
    plain.fill(0);
    if (error instanceof KeyFileError) throw error;
    throw error instanceof Failure && error.code === "unsupported"
      ? invalidFormat(error.message)
      : damaged();
  }
}

/**
 * Refuses seeds that do not belong to the public key: signing with a wrong public key, which an
 * attacker can put into an encrypted file, leaks an Ed25519 private key.
 */
function checkSeeds({ publicKey, secret }: PrivateKey): void {
  if (publicKey.type === "ed25519" && secret.type === "ed25519") {
    if (!ed25519PublicKey(secret.seed).equals(publicKey.publicKey)) throw keyMismatch();
  }
  if (publicKey.type === "mldsa44-ed25519" && secret.type === "mldsa44-ed25519") {
    const isPair =
      ed25519PublicKey(secret.ed25519Seed).equals(publicKey.ed25519) &&
      clearKeysAfter(() => mlDsaPublicKey(secret.mlDsaSeed)).equals(publicKey.mlDsa);
    if (!isPair) throw keyMismatch();
  }
}
