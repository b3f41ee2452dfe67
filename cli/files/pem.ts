/** PEM files (PKCS#1, SEC 1, PKCS#8, plain and encrypted), read by `node:crypto`. */
import { createPrivateKey, type KeyObject } from "node:crypto";
import type { PrivateKey } from "../../protocol/private-key.ts";
import type { Armoured } from "./armour.ts";
import { privateKeyFields } from "./key-object.ts";
import { invalidFormat, type LoadedKey, wrongPassphrase } from "./loaded-key.ts";

/**
 * Reads a private key.
 * @param passphrase empty for none
 * @throws {KeyFileError}
 */
export function readPem(armoured: Armoured, passphrase: Buffer): LoadedKey {
  const isEncrypted =
    armoured.label === "ENCRYPTED PRIVATE KEY" || armoured.body.includes("Proc-Type: 4,ENCRYPTED");
  if (isEncrypted && passphrase.length === 0) throw wrongPassphrase();
  let object: KeyObject;
  try {
    object = createPrivateKey({ key: armoured.whole, format: "pem", passphrase });
  } catch (error) {
    if (isUnknownCipher(error)) throw invalidFormat(oldCipher);
    throw isEncrypted ? wrongPassphrase() : invalidFormat("The file is damaged.");
  }
  const key = fieldsOf(object);
  if (key !== undefined) return { key, comment: "" };
  throw invalidFormat(`Keys of the type "${object.asymmetricKeyType}" are not supported.`);
}

function fieldsOf(object: KeyObject): PrivateKey | undefined {
  try {
    return privateKeyFields(object);
  } catch {
    throw invalidFormat("The file is damaged.");
  }
}

const oldCipher =
  "The file is encrypted with a cipher that is not supported any more; convert it with: openssl pkey -provider legacy -provider default -aes256 -in FILE -out NEWFILE";

/** OpenSSL's word for DES, RC2 and the like, whatever the passphrase is. */
function isUnknownCipher(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "ERR_OSSL_EVP_UNSUPPORTED";
}
