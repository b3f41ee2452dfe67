/**
 * Private keys in files.
 *
 * Four readers share the formats: `ssh2-streams` reads what ssh-keygen writes today (OpenSSH's
 * container, unencrypted or under aes-ctr and aes-gcm), `node:crypto` reads PEM (PKCS#1, SEC 1,
 * PKCS#8, and their encrypted forms) from bytes to bytes, and readers of ours the rest of the
 * container (its other ciphers, and FIDO keys) and PuTTY's files.
 */
import type { PrivateKey } from "../../protocol/private-key.ts";
import { type Armoured, decodeBase64, readArmour } from "./armour.ts";
import { containerLabel, readContainer } from "./openssh-container.ts";
import { isPutty } from "./putty-file.ts";

/** A private key from a file. Its secret fields are the caller's to overwrite. */
export interface LoadedKey {
  readonly key: PrivateKey;
  /** Empty where the format has none. */
  readonly comment: string;
}

/** Why a file gave no private key. */
export class KeyFileError extends Error {
  override readonly name = "KeyFileError";
  /** Whether another passphrase might open it. */
  readonly needsPassphrase: boolean;
  /** What the file is instead, for people; empty when that is not known. */
  readonly explanation: string;

  constructor(message: string, options: { needsPassphrase?: boolean; explanation?: string } = {}) {
    super(message);
    this.needsPassphrase = options.needsPassphrase ?? false;
    this.explanation = options.explanation ?? "";
  }
}

/** The file is encrypted, and not under this passphrase. */
export function wrongPassphrase(): KeyFileError {
  return new KeyFileError("incorrect passphrase supplied to decrypt private key", {
    needsPassphrase: true,
  });
}

/** The file is not a private key that is understood here. */
export function invalidFormat(explanation: string): KeyFileError {
  return new KeyFileError("invalid format", { explanation });
}

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
