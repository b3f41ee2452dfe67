/**
 * The outside of OpenSSH's private key files (PROTOCOL.key): how they are encrypted, and the public
 * key, which is not.
 */
import { Reader } from "../../protocol/wire.ts";
import { decodeBase64, readArmour } from "./armour.ts";

/** The label of the armour. */
export const containerLabel = "OPENSSH PRIVATE KEY";

const magic = Buffer.from("openssh-key-v1\0");

/** A file of `ssh-keygen`. */
export interface Container {
  /** As in "aes256-ctr"; "none" when it is not encrypted. */
  readonly cipher: string;
  /** "bcrypt" or "none". */
  readonly derivation: string;
  /** For bcrypt: string salt, uint32 rounds. */
  readonly derivationOptions: Buffer;
  readonly publicKey: Buffer;
  /** The private part, encrypted or not. */
  readonly body: Buffer;
  /** The authentication tag of ciphers that have one. */
  readonly tag: Buffer;
}

/**
 * Reads a container.
 * @param bytes without the armour
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

/** The blob of the public key within a private key file; undefined for any other file. */
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
