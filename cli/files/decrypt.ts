/** Decrypts private keys into a single buffer that can be overwritten. */

import type { Decipher } from "node:crypto";
import { secretBytes } from "../../protocol/secret-bytes.ts";
import { damaged } from "./loaded-key.ts";
import { startsLikePrivateKey } from "./private-key-der.ts";

const chunkLength = 16;

/**
 * Decrypts `body` in small chunks. Node.js copies OpenSSL's output and frees the original without
 * overwriting it; each chunk reuses the memory of the previous one.
 * @param decipher without automatic padding; the caller calls `final`
 */
export function decrypt(decipher: Decipher, body: Buffer): Buffer {
  const plain = secretBytes(body.length);
  let length = 0;
  for (let at = 0; at < body.length; at += chunkLength) {
    const part = decipher.update(body.subarray(at, at + chunkLength));
    length += part.copy(plain, length);
    part.fill(0);
  }
  return plain.subarray(0, length);
}

/**
 * Decrypts a private key in DER with PKCS#7 padding.
 * @param decipher for CBC, without automatic padding
 * @param block the cipher's block size in bytes
 * @returns undefined if the passphrase is wrong
 * @throws {KeyFileError} if the passphrase is right and the padding is damaged
 */
export function decryptPaddedDer(
  decipher: Decipher,
  body: Buffer,
  block: number,
): Buffer | undefined {
  const plain = decrypt(decipher, body);
  decipher.final();
  const isRight = startsLikePrivateKey(plain);
  const padding = plain.at(-1) ?? 0;
  const end = plain.subarray(-padding);
  if (isRight && padding >= 1 && padding <= block && end.every((byte) => byte === padding)) {
    return plain.subarray(0, -padding);
  }
  plain.fill(0);
  if (isRight) throw damaged();
  return undefined;
}
