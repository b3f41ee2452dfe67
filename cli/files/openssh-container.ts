/**
 * The unencrypted part of OpenSSH's private key files (PROTOCOL.key): encryption parameters and
 * public key.
 */
import { Reader } from "../../protocol/wire.ts";
import { decodeBase64, readArmour } from "./armour.ts";

/** The armour's label. */
export const containerLabel = "OPENSSH PRIVATE KEY";

const magic = Buffer.from("openssh-key-v1\0");

/** A file of `ssh-keygen`. */
export interface Container {
  /** As in "aes256-ctr", or "none". */
  readonly cipher: string;
  /** "bcrypt" or "none". */
  readonly derivation: string;
  /** For bcrypt: string salt, uint32 rounds. */
  readonly derivationOptions: Buffer;
  readonly publicKey: Buffer;
  /** The private part, encrypted or not. */
  readonly body: Buffer;
  /** The authentication tag; empty for ciphers without one. */
  readonly tag: Buffer;
}

/**
 * Reads a container.
 * @param bytes without the armour
 * @returns undefined for another format or another number of keys
 * @throws {Failure} malformed
 */
export function readContainer(bytes: Buffer): Container | undefined {
  if (!bytes.subarray(0, magic.length).equals(magic)) return undefined;
  const reader = new Reader(bytes.subarray(magic.length));
  const cipher = reader.name();
  const derivation = reader.name();
  const derivationOptions = reader.string();
  if (reader.uint32() !== 1) return undefined;
  const publicKey = reader.string();
  const body = reader.string();
  return { cipher, derivation, derivationOptions, publicKey, body, tag: reader.rest() };
}

/** The public key blob in a private key file; undefined for any other file. */
export function publicKeyOfContainer(file: Buffer): Buffer | undefined {
  const armoured = readArmour(file, (label) => label === containerLabel);
  if (armoured === undefined) return undefined;
  const bytes = decodeBase64(armoured.body);
  if (bytes === undefined) return undefined;
  try {
    const container = readContainer(bytes);
    return container && Buffer.from(container.publicKey);
  } catch {
    return undefined;
  } finally {
    bytes.fill(0);
  }
}
