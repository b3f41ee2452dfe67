/** The result of reading a private key file: a key or an error. */
import type { PrivateKey } from "../../protocol/private-key.ts";

/** A private key from a file. The caller overwrites its secret fields. */
export interface LoadedKey {
  readonly key: PrivateKey;
  /** Empty if the format has none. */
  readonly comment: string;
}

/** Why a private key file cannot be read. */
export class KeyFileError extends Error {
  override readonly name = "KeyFileError";
  /** Whether another passphrase may work. */
  readonly needsPassphrase: boolean;
  /** A sentence for the user; may be empty. */
  readonly explanation: string;

  constructor(message: string, options: { needsPassphrase?: boolean; explanation?: string } = {}) {
    super(message);
    this.needsPassphrase = options.needsPassphrase ?? false;
    this.explanation = options.explanation ?? "";
  }
}

/** The passphrase is missing or wrong. */
export function wrongPassphrase(): KeyFileError {
  return new KeyFileError("incorrect passphrase supplied to decrypt private key", {
    needsPassphrase: true,
  });
}

/** The file is not a supported private key. */
export function invalidFormat(explanation: string): KeyFileError {
  return new KeyFileError("invalid format", { explanation });
}

/** The file is a private key that is incomplete or was changed. */
export function damaged(): KeyFileError {
  return invalidFormat("The file is damaged.");
}

/** The file is encrypted with an unsupported algorithm. */
export function unknownEncryption(name: string): KeyFileError {
  return invalidFormat(`The file is encrypted with "${name}", which is not supported.`);
}
