/** PEM files: PKCS#1, SEC 1, DSA and PKCS#8, plain and encrypted. */
import type { PrivateKey } from "../../protocol/private-key.ts";
import { type Armoured, decodeBase64 } from "./armour.ts";
import type { Announce } from "./key-derivation.ts";
import { damaged, invalidFormat, type LoadedKey, wrongPassphrase } from "./loaded-key.ts";
import { readDsaKey, readEcKey, readPkcs8, readRsaKey } from "./private-key-der.ts";

/** The parser for each label. */
const readers = new Map<string, (der: Buffer) => PrivateKey>([
  ["RSA PRIVATE KEY", readRsaKey],
  ["EC PRIVATE KEY", readEcKey],
  ["DSA PRIVATE KEY", readDsaKey],
  ["PRIVATE KEY", readPkcs8],
  ["ENCRYPTED PRIVATE KEY", readPkcs8],
]);

/**
 * Reads a private key.
 * @param passphrase empty for none
 * @throws {KeyFileError}
 */
export async function readPem(
  armoured: Armoured,
  passphrase: Buffer,
  announce?: Announce,
): Promise<LoadedKey> {
  const read = readers.get(armoured.label);
  if (read === undefined) {
    throw invalidFormat(`Keys under the label "${armoured.label}" are not supported.`);
  }
  const der = await readDer(armoured, passphrase, announce);
  try {
    return { key: read(der), comment: "" };
  } catch (error) {
    der.fill(0);
    throw error;
  }
}

/** Decodes and decrypts the body. @throws {KeyFileError} */
async function readDer(
  { label, body }: Armoured,
  passphrase: Buffer,
  announce?: Announce,
): Promise<Buffer> {
  const { readHeaders, readBody } = await import("./pem-encryption.ts");
  const headers = readHeaders(body);
  const bytes = decodeBase64(headers === undefined ? body : body.subarray(headers.length));
  if (bytes === undefined || bytes.length === 0) throw damaged();
  if (headers === undefined && label !== "ENCRYPTED PRIVATE KEY") return bytes;
  try {
    const plain =
      headers === undefined
        ? await readPkcs8Body(bytes, passphrase, announce)
        : readBody(headers, bytes, passphrase);
    if (plain === undefined) throw wrongPassphrase();
    return plain;
  } finally {
    bytes.fill(0);
  }
}

async function readPkcs8Body(bytes: Buffer, passphrase: Buffer, announce?: Announce) {
  const { decryptPkcs8, readEncryptedPkcs8 } = await import("./pkcs8-encryption.ts");
  const encrypted = readEncryptedPkcs8(bytes);
  return passphrase.length === 0 ? undefined : decryptPkcs8(encrypted, passphrase, announce);
}
