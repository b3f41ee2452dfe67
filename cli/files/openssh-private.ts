/**
 * The inside of OpenSSH's private key files (PROTOCOL.key), for what `ssh2-streams` does not read:
 * the older ciphers, chacha20-poly1305, and keys on FIDO authenticators.
 */
import { createDecipheriv } from "node:crypto";
import { Failure } from "../../protocol/failure.ts";
import { identityBlob, type PrivateKey, readPrivateKey } from "../../protocol/private-key.ts";
import { Reader } from "../../protocol/wire.ts";
import { openChaChaPoly } from "./chacha-poly.ts";
import { invalidFormat, KeyFileError, type LoadedKey, wrongPassphrase } from "./loaded-key.ts";
import type { Container } from "./openssh-container.ts";

interface Cipher {
  /** OpenSSL's name. */
  readonly name: string;
  /** Bytes. */
  readonly key: number;
  readonly iv: number;
  readonly tag: number;
}

const chachaPoly = "chacha20-poly1305@openssh.com";

const ciphers: Readonly<Record<string, Cipher>> = {
  "3des-cbc": { name: "des-ede3-cbc", key: 24, iv: 8, tag: 0 },
  "aes128-cbc": { name: "aes-128-cbc", key: 16, iv: 16, tag: 0 },
  "aes192-cbc": { name: "aes-192-cbc", key: 24, iv: 16, tag: 0 },
  "aes256-cbc": { name: "aes-256-cbc", key: 32, iv: 16, tag: 0 },
  "rijndael-cbc@lysator.liu.se": { name: "aes-256-cbc", key: 32, iv: 16, tag: 0 },
  "aes128-ctr": { name: "aes-128-ctr", key: 16, iv: 16, tag: 0 },
  "aes192-ctr": { name: "aes-192-ctr", key: 24, iv: 16, tag: 0 },
  "aes256-ctr": { name: "aes-256-ctr", key: 32, iv: 16, tag: 0 },
  "aes128-gcm@openssh.com": { name: "aes-128-gcm", key: 16, iv: 12, tag: 16 },
  "aes256-gcm@openssh.com": { name: "aes-256-gcm", key: 32, iv: 12, tag: 16 },
  [chachaPoly]: { name: chachaPoly, key: 64, iv: 0, tag: 16 },
};

/**
 * Decrypts and reads a private key.
 * @param passphrase empty for a container that is not encrypted
 * @throws {KeyFileError}
 */
export async function openContainer(container: Container, passphrase: Buffer): Promise<LoadedKey> {
  if (container.cipher === "none") return readPrivatePart(container, Buffer.from(container.body));
  const cipher = ciphers[container.cipher];
  if (cipher === undefined) {
    throw invalidFormat(
      `The file is encrypted with "${container.cipher}", which is not supported.`,
    );
  }
  const secret = await deriveKey(container, passphrase, cipher.key + cipher.iv);
  try {
    return readPrivatePart(container, decrypt(container, cipher, secret));
  } catch (error) {
    if (error instanceof KeyFileError) throw error;
    throw wrongPassphrase();
  } finally {
    secret.fill(0);
  }
}

/** @returns the cipher's key, then its initialisation vector */
async function deriveKey(container: Container, passphrase: Buffer, length: number) {
  if (container.derivation !== "bcrypt") {
    throw invalidFormat(`The key derivation "${container.derivation}" is not supported.`);
  }
  const options = new Reader(container.derivationOptions);
  const salt = options.string();
  const rounds = options.uint32();
  const { default: bcrypt } = await import("bcrypt-pbkdf");
  const secret = Buffer.alloc(length);
  bcrypt.pbkdf(passphrase, passphrase.length, salt, salt.length, secret, length, rounds);
  return secret;
}

function decrypt({ body, tag }: Container, cipher: Cipher, secret: Buffer): Buffer {
  if (tag.length !== cipher.tag) throw invalidFormat("The file is damaged.");
  const key = secret.subarray(0, cipher.key);
  if (cipher.name === chachaPoly) return openChaChaPoly(key.subarray(0, 32), body, tag);
  const iv = secret.subarray(cipher.key);
  if (cipher.tag > 0) {
    const name = cipher.name as "aes-128-gcm" | "aes-256-gcm";
    const decipher = createDecipheriv(name, key, iv, { authTagLength: cipher.tag });
    decipher.setAuthTag(tag);
    const plain = decipher.update(body);
    decipher.final();
    return plain;
  }
  // The private part is padded by itself, so the cipher's own padding is off and `final` is empty.
  return createDecipheriv(cipher.name, key, iv).setAutoPadding(false).update(body);
}

/** Reads two equal numbers that prove the passphrase, the key, its comment and the padding. */
function readPrivatePart(container: Container, plain: Buffer): LoadedKey {
  const reader = new Reader(plain);
  const [first, second] = [reader.uint32(), reader.uint32()];
  if (first !== second) {
    plain.fill(0);
    throw container.cipher === "none" ? invalidFormat("The file is damaged.") : wrongPassphrase();
  }
  let key: PrivateKey;
  try {
    key = readPrivateKey(reader);
  } catch (error) {
    plain.fill(0);
    const isKnown = error instanceof Failure && error.code === "unsupported";
    throw invalidFormat(isKnown ? error.message : "The file is damaged.");
  }
  const comment = reader.text();
  const isPadded = reader.rest().every((byte, index) => byte === ((index + 1) & 0xff));
  if (!isPadded || !identityBlob(key).equals(container.publicKey)) {
    plain.fill(0);
    throw invalidFormat("The file is damaged.");
  }
  return { key, comment };
}
