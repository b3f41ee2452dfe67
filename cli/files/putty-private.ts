/**
 * The private part of PuTTY's private key files (`.ppk`): decrypts it, verifies the MAC, and parses
 * the key.
 */
import { createDecipheriv, createHash, createHmac } from "node:crypto";
import { parseKeyOrCertificate } from "../../protocol/certificate.ts";
import { type SecretFields, wipePrivateKey } from "../../protocol/private-key.ts";
import type { PublicKey } from "../../protocol/public-key.ts";
import { decodeText } from "../../protocol/text.ts";
import { Reader, Writer } from "../../protocol/wire.ts";
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
import { type Argon2, type PuttyFile, readPuttyFile } from "./putty-file.ts";

/**
 * Reads a private key.
 * @param file the bytes of the file, which are not changed
 * @param passphrase empty for none
 * @throws {KeyFileError}
 */
export async function readPutty(
  file: Buffer,
  passphrase: Buffer,
  announce?: Announce,
): Promise<LoadedKey> {
  const putty = readPuttyFile(file);
  if (putty === undefined) throw unreadable(file);
  try {
    return await openPutty(putty, passphrase, announce);
  } finally {
    putty.body.fill(0);
  }
}

function unreadable(file: Buffer): KeyFileError {
  const version = /-(\d+): /.exec(file.toString("latin1", 0, 40))?.[1];
  if (version === undefined || version === "2" || version === "3") return damaged();
  return invalidFormat(
    `The file is a PuTTY key of version ${version}; convert it with: puttygen FILE -o NEWFILE`,
  );
}

async function openPutty(
  putty: PuttyFile,
  passphrase: Buffer,
  announce: Announce | undefined,
): Promise<LoadedKey> {
  const derivation = checkHeader(putty);
  if (putty.encryption === "none")
    return readAuthentic(putty, Buffer.from(putty.body), plainMacKey(putty));
  if (passphrase.length === 0) throw wrongPassphrase();
  const keys = await deriveKeys(derivation, passphrase, announce);
  try {
    return readAuthentic(putty, decryptBody(putty.body, keys), keys.mac);
  } finally {
    for (const secret of [keys.cipher, keys.iv, keys.mac]) secret.fill(0);
  }
}

/**
 * Checks that need no passphrase.
 * @returns the key derivation; undefined in version 2 and without encryption
 * @throws {KeyFileError}
 */
function checkHeader(putty: PuttyFile): Derivation | undefined {
  const { version, encryption, algorithm, argon2, body, mac } = putty;
  if (encryption !== "none" && encryption !== "aes256-cbc") throw unknownEncryption(encryption);
  if (mac.length !== (version === 2 ? 20 : 32)) throw damaged();
  if (readPublicKey(putty) === undefined) {
    throw invalidFormat(`Keys of the type "${algorithm}" are not supported.`);
  }
  if (encryption === "none") return undefined;
  if (body.length === 0 || body.length % 16 !== 0) throw damaged();
  if (version === 2) return undefined;
  if (argon2 === undefined) throw damaged();
  const { name, ...settings } = argon2;
  const variant = argon2Variants.find((known) => known === name);
  if (variant === undefined) {
    throw invalidFormat(`The key derivation "${name}" is not supported.`);
  }
  const derivation = { type: "argon2", variant, ...settings } as const;
  if (!isValidArgon2(derivation)) {
    throw invalidFormat("Invalid parameters of the file's key derivation.");
  }
  checkCost(derivation, derivedLength);
  return derivation;
}

const argon2Variants = ["Argon2id", "Argon2i", "Argon2d"] as const;

/** RFC 9106, section 3.1. */
function isValidArgon2({ memory, passes, parallelism, salt }: Omit<Argon2, "name">): boolean {
  return passes > 0 && parallelism > 0 && memory >= 8 * parallelism && salt.length >= 8;
}

function readPublicKey({ publicKey }: PuttyFile) {
  try {
    return parseKeyOrCertificate(publicKey);
  } catch {
    throw damaged();
  }
}

/** The keys derived from a passphrase. */
interface Keys {
  /** 32 bytes. */
  readonly cipher: Buffer;
  /** 16 bytes. */
  readonly iv: Buffer;
  readonly mac: Buffer;
}

const derivedLength = 80;

async function deriveKeys(
  derivation: Derivation | undefined,
  passphrase: Buffer,
  announce: Announce | undefined,
): Promise<Keys> {
  if (derivation === undefined) {
    const cipher = Buffer.concat([sha1([0, 0, 0, 0], passphrase), sha1([0, 0, 0, 1], passphrase)]);
    return { cipher: cipher.subarray(0, 32), iv: Buffer.alloc(16), mac: macKey(passphrase) };
  }
  const derived = await derive(derivation, passphrase, derivedLength, announce);
  return {
    cipher: derived.subarray(0, 32),
    iv: derived.subarray(32, 48),
    mac: derived.subarray(48),
  };
}

/** The MAC key of an unencrypted file. */
function plainMacKey({ version }: PuttyFile): Buffer {
  return version === 2 ? macKey(Buffer.alloc(0)) : Buffer.alloc(0);
}

/** The MAC key in version 2. */
function macKey(passphrase: Buffer): Buffer {
  return sha1(Buffer.from("putty-private-key-file-mac-key"), passphrase);
}

function sha1(prefix: Buffer | number[], passphrase: Buffer): Buffer {
  return createHash("sha1").update(Buffer.from(prefix)).update(passphrase).digest();
}

/** The format defines the padding, so the cipher's is off. */
function decryptBody(body: Buffer, { cipher, iv }: Keys): Buffer {
  const decipher = createDecipheriv("aes-256-cbc", cipher, iv).setAutoPadding(false);
  const plain = decrypt(decipher, body);
  decipher.final();
  return plain;
}

/**
 * Verifies the MAC and parses the key.
 * @param mac the MAC's key
 * @throws {KeyFileError} on a MAC mismatch: damaged if the key parses, else a wrong passphrase
 */
function readAuthentic(putty: PuttyFile, plain: Buffer, mac: Buffer): LoadedKey {
  const isAuthentic = computeMac(putty, plain, mac).equals(putty.mac);
  try {
    const loaded = readKey(putty, plain);
    if (isAuthentic) return loaded;
    wipePrivateKey(loaded.key);
  } catch (error) {
    plain.fill(0);
    if (isAuthentic || putty.encryption === "none") throw error;
    throw wrongPassphrase();
  }
  throw damaged();
}

function computeMac(putty: PuttyFile, plain: Buffer, key: Buffer): Buffer {
  const covered = new Writer(putty.publicKey.length + plain.length + 256)
    .text(putty.algorithm)
    .text(putty.encryption)
    .string(putty.comment)
    .string(putty.publicKey)
    .string(plain)
    .finish();
  const code = createHmac(putty.version === 2 ? "sha1" : "sha256", key)
    .update(covered)
    .digest();
  covered.fill(0);
  return code;
}

/** @param plain the key's secret fields are views of it */
function readKey(putty: PuttyFile, plain: Buffer): LoadedKey {
  const found = readPublicKey(putty);
  try {
    const secret = found && readSecret(new Reader(plain), found.key);
    if (found === undefined || secret === undefined) throw damaged();
    const certificate = found.certificate && putty.publicKey;
    const key = { publicKey: found.key, secret, certificate };
    return { key, comment: decodeText(putty.comment) };
  } catch (error) {
    throw error instanceof KeyFileError ? error : damaged();
  }
}

function readSecret(reader: Reader, key: PublicKey): SecretFields | undefined {
  switch (key.type) {
    case "rsa": {
      const [d, p, q] = [reader.mpint(), reader.mpint(), reader.mpint()];
      return { type: "rsa", d, p, q, iqmp: reader.mpint() };
    }
    case "dsa":
      return { type: "dsa", x: reader.mpint() };
    case "ecdsa":
      return { type: "ecdsa", d: reader.mpint() };
    case "ed25519":
      return { type: "ed25519", seed: readSeed(reader) };
    default:
      return undefined;
  }
}

/** The format has the seed as a little-endian number, which may lack trailing zeros. */
function readSeed(reader: Reader): Buffer {
  const bytes = reader.string();
  if (bytes.length > 32) throw damaged();
  if (bytes.length === 32) return bytes;
  const seed = Buffer.concat([bytes], 32);
  bytes.fill(0);
  return seed;
}
