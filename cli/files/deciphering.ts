/** Decrypting private keys so that what is left of them is in one buffer, which can be overwritten. */

import type { Decipher } from "node:crypto";
import { secretBytes } from "../../protocol/secret-bytes.ts";
import { damaged } from "./loaded-key.ts";
import { beginsAsKey } from "./private-key-der.ts";

/** Bytes that are decrypted at once. */
const piece = 16;

/**
 * Decrypts all of `body`. Node.js copies what OpenSSL gives it and frees the first copy as it is; in
 * small pieces, each overwrites what the one before it has left.
 * @param decipher without padding of its own; `final` is the caller's to call
 */
export function decrypt(decipher: Decipher, body: Buffer): Buffer {
  const plain = secretBytes(body.length);
  let length = 0;
  for (let at = 0; at < body.length; at += piece) {
    const part = decipher.update(body.subarray(at, at + piece));
    length += part.copy(plain, length);
    part.fill(0);
  }
  return plain.subarray(0, length);
}

/**
 * Decrypts a private key in DER, padded as in PKCS#7.
 * @param decipher of CBC, without padding of its own
 * @param block bytes of the cipher's block
 * @returns undefined when the passphrase is not the right one
 * @throws {KeyFileError} when it is the right one, and the end of the file is damaged
 */
export function decryptDer(decipher: Decipher, body: Buffer, block: number): Buffer | undefined {
  const plain = decrypt(decipher, body);
  decipher.final();
  const isRight = beginsAsKey(plain);
  const padding = plain.at(-1) ?? 0;
  const end = plain.subarray(-padding);
  if (isRight && padding >= 1 && padding <= block && end.every((byte) => byte === padding)) {
    return plain.subarray(0, -padding);
  }
  plain.fill(0);
  if (isRight) throw damaged();
  return undefined;
}
