/**
 * Private keys in files.
 *
 * Four readers share the formats: `ssh2-streams` reads what ssh-keygen writes today (OpenSSH's
 * container, unencrypted or under aes-ctr and aes-gcm), `node:crypto` reads PEM (PKCS#1, SEC 1,
 * PKCS#8, and their encrypted forms) from bytes to bytes, and readers of ours the rest of the
 * container (its other ciphers, and FIDO keys) and PuTTY's files.
 */

import { type Armoured, decodeBase64, readArmour } from "./armour.ts";
import { invalidFormat, KeyFileError, type LoadedKey, wrongPassphrase } from "./loaded-key.ts";
import { containerLabel, readContainer } from "./openssh-container.ts";
import { isPutty } from "./putty-file.ts";

/**
 * Reads a private key.
 * @param file the bytes of the file; they stay the caller's
 * @param passphrase empty for none
 * @throws {KeyFileError}
 */
export async function readPrivateKeyFile(file: Buffer, passphrase: Buffer): Promise<LoadedKey> {
  const armoured = readArmour(file, isPrivateKeyLabel);
  if (armoured?.label === containerLabel) return readOpenSsh(armoured, passphrase);
  if (armoured !== undefined) {
    const { readPem } = await import("./pem.ts");
    return readPem(armoured, passphrase);
  }
  if (isPutty(file)) {
    const { readPutty } = await import("./putty-private.ts");
    return readPutty(file, passphrase);
  }
  const { describeForeign } = await import("./foreign-file.ts");
  throw invalidFormat(describeForeign(file));
}

function isPrivateKeyLabel(label: string): boolean {
  return label.endsWith("PRIVATE KEY");
}

async function readOpenSsh(armoured: Armoured, passphrase: Buffer): Promise<LoadedKey> {
  const bytes = decodeBase64(armoured.body);
  try {
    const container = bytes && readContainer(bytes);
    if (container === undefined) throw invalidFormat("The file is damaged.");
    if (container.derivation !== "none" && passphrase.length === 0) throw wrongPassphrase();
    const { isReadBySsh2, readWithSsh2 } = await import("./ssh2.ts");
    if (isReadBySsh2(container)) return await readWithSsh2(container, armoured.whole, passphrase);
    const { openContainer } = await import("./openssh-private.ts");
    return await openContainer(container, passphrase);
  } catch (error) {
    if (error instanceof KeyFileError) throw error;
    throw invalidFormat("The file is damaged.");
  } finally {
    bytes?.fill(0);
  }
}
