/**
 * The inside of PuTTY's private key files (`.ppk`): made readable with the passphrase, proved by the
 * file's authentication code, and taken apart into the fields that travel to an agent.
 */
import { createDecipheriv, createHash, createHmac } from "node:crypto";
import { identify } from "../../protocol/certificate.ts";
import type { SecretFields } from "../../protocol/private-key.ts";
import type { PublicKey } from "../../protocol/public-key.ts";
import { decodeText } from "../../protocol/text.ts";
import { Reader, Writer } from "../../protocol/wire.ts";
import { invalidFormat, KeyFileError, type LoadedKey, wrongPassphrase } from "./loaded-key.ts";
import { type Argon2, type PuttyFile, readPuttyFile } from "./putty-file.ts";

/**
 * Reads a private key.
 * @param file the bytes of the file; they stay the caller's
 * @param passphrase empty for none
 * @throws {KeyFileError}
 */
export async function readPutty(file: Buffer, passphrase: Buffer): Promise<LoadedKey> {
  const putty = readPuttyFile(file);
  if (putty === undefined) throw invalidFormat(describeUnreadable(file));
  try {
    return await openPutty(putty, passphrase);
  } finally {
    putty.body.fill(0);
  }
}

function describeUnreadable(file: Buffer): string {
  const version = /-(\d+): /.exec(file.toString("latin1", 0, 40))?.[1];
  if (version === undefined || version === "2" || version === "3") return "The file is damaged.";
  return `The file is a PuTTY key of version ${version}; convert it with: puttygen FILE -o NEWFILE`;
}

async function openPutty(putty: PuttyFile, passphrase: Buffer): Promise<LoadedKey> {
  const isEncrypted = putty.encryption !== "none";
  if (isEncrypted && putty.encryption !== "aes256-cbc") {
    throw invalidFormat(
      `The file is encrypted with "${putty.encryption}", which is not supported.`,
    );
  }
  if (isEncrypted && passphrase.length === 0) throw wrongPassphrase();
  const keys = await deriveKeys(putty, isEncrypted ? passphrase : Buffer.alloc(0));
  const plain = isEncrypted ? decrypt(putty.body, keys) : Buffer.from(putty.body);
  try {
    if (!authenticate(putty, plain, keys.mac).equals(putty.mac)) {
      throw isEncrypted ? wrongPassphrase() : invalidFormat("The file is damaged.");
    }
    return readKey(putty, Buffer.from(plain));
  } finally {
    plain.fill(0);
    for (const secret of [keys.cipher, keys.iv, keys.mac]) secret.fill(0);
  }
}

/** What a passphrase becomes. */
interface Keys {
  /** 32 bytes; unused where there is no encryption. */
  readonly cipher: Buffer;
  /** 16 bytes. */
  readonly iv: Buffer;
  readonly mac: Buffer;
}

/** @param passphrase empty where there is no encryption */
async function deriveKeys(putty: PuttyFile, passphrase: Buffer): Promise<Keys> {
  if (putty.version === 2) {
    const cipher = Buffer.concat([sha1([0, 0, 0, 0], passphrase), sha1([0, 0, 0, 1], passphrase)]);
    const mac = sha1(Buffer.from("putty-private-key-file-mac-key"), passphrase);
    return { cipher: cipher.subarray(0, 32), iv: Buffer.alloc(16), mac };
  }
  if (passphrase.length === 0) {
    const none = Buffer.alloc(0);
    return { cipher: none, iv: none, mac: none };
  }
  if (putty.argon2 === undefined) throw invalidFormat("The file is damaged.");
  const derived = await argon2(putty.argon2, passphrase, 80);
  return {
    cipher: derived.subarray(0, 32),
    iv: derived.subarray(32, 48),
    mac: derived.subarray(48),
  };
}

function sha1(prefix: Buffer | number[], passphrase: Buffer): Buffer {
  return createHash("sha1").update(Buffer.from(prefix)).update(passphrase).digest();
}

async function argon2(settings: Argon2, passphrase: Buffer, length: number): Promise<Buffer> {
  const { argon2d, argon2i, argon2id } = await import("@noble/hashes/argon2.js");
  const variants = new Map([
    ["Argon2id", argon2id],
    ["Argon2i", argon2i],
    ["Argon2d", argon2d],
  ]);
  const derive = variants.get(settings.name);
  if (derive === undefined) {
    throw invalidFormat(`The key derivation "${settings.name}" is not supported.`);
  }
  const { memory: m, passes: t, parallelism: p, salt } = settings;
  try {
    const key = derive(passphrase, salt, { m, t, p, dkLen: length });
    return Buffer.from(key.buffer, key.byteOffset, key.length);
  } catch {
    throw invalidFormat("The file asks for a key derivation that cannot be done.");
  }
}

/** The private part is padded by itself, so the cipher's own padding is off. */
function decrypt(body: Buffer, { cipher, iv }: Keys): Buffer {
  if (body.length % 16 !== 0) throw invalidFormat("The file is damaged.");
  return createDecipheriv("aes-256-cbc", cipher, iv).setAutoPadding(false).update(body);
}

/** The authentication code that the file should have. */
function authenticate(putty: PuttyFile, plain: Buffer, key: Buffer): Buffer {
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

/** @param plain becomes the key's: its secret fields are views of it */
function readKey(putty: PuttyFile, plain: Buffer): LoadedKey {
  try {
    const found = identify(putty.publicKey);
    const secret = found && readSecret(new Reader(plain), found.key);
    if (found === undefined || secret === undefined) {
      throw invalidFormat(`Keys of the type "${putty.algorithm}" are not supported.`);
    }
    const certificate = found.certificate && putty.publicKey;
    const key = { publicKey: found.key, secret, certificate };
    return { key, comment: decodeText(putty.comment) };
  } catch (error) {
    plain.fill(0);
    throw error instanceof KeyFileError ? error : invalidFormat("The file is damaged.");
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

/** A number there, least significant byte first: zeros at a seed's end may be left out. */
function readSeed(reader: Reader): Buffer {
  const bytes = reader.string();
  if (bytes.length > 32) throw invalidFormat("The file is damaged.");
  if (bytes.length === 32) return bytes;
  const seed = Buffer.concat([bytes], 32);
  bytes.fill(0);
  return seed;
}
