/**
 * OpenSSH's container through `ssh2-streams`, for the ciphers and keys that it knows.
 *
 * It hands the key over as PEM in a string, which cannot be overwritten; the string is dropped at
 * once. Everything before and after it is in buffers, which are.
 */
import { createPrivateKey } from "node:crypto";
import { blobAlgorithm, encodePublicKey } from "../../protocol/public-key.ts";
import { privateKeyFields } from "./key-object.ts";
import { invalidFormat, type LoadedKey, wrongPassphrase } from "./loaded-key.ts";
import type { Container } from "./openssh-container.ts";

const ciphers = /^(none|aes(128|192|256)-ctr|aes(128|256)-gcm@openssh\.com)$/;
const algorithms = /^(ssh-rsa|ssh-ed25519|ecdsa-sha2-nistp(256|384|521))$/;

/** Whether `ssh2-streams` knows this container's cipher and its key's algorithm. */
export function isReadBySsh2({ cipher, publicKey }: Container): boolean {
  return ciphers.test(cipher) && algorithms.test(blobAlgorithm(publicKey));
}

/**
 * Reads a private key.
 * @param container the same file's outside
 * @param armoured the file with its armour
 * @throws {KeyFileError}
 */
export async function readWithSsh2(
  container: Container,
  armoured: Buffer,
  passphrase: Buffer,
): Promise<LoadedKey> {
  const { default: ssh2 } = await import("ssh2-streams");
  // The declared types know of a passphrase as a string only; bytes are taken and spare a copy.
  const parsed: unknown = Reflect.apply(ssh2.utils.parseKey, undefined, [armoured, passphrase]);
  const [found] = Array.isArray(parsed) ? parsed : [parsed];
  if (!isParsedKey(found)) {
    throw container.cipher === "none" ? invalidFormat("The file is damaged.") : wrongPassphrase();
  }
  const key = privateKeyFields(createPrivateKey(found.getPrivatePEM()));
  if (key === undefined || !encodePublicKey(key.publicKey).equals(container.publicKey)) {
    throw invalidFormat("The file's private key does not belong to its public key.");
  }
  return { key, comment: found.comment };
}

interface ParsedKey {
  readonly comment: string;
  getPrivatePEM(): string;
}

function isParsedKey(value: unknown): value is ParsedKey {
  return (
    typeof value === "object" && value !== null && "getPrivatePEM" in value && "comment" in value
  );
}
