/** What a private key file gives: a key, or the reason why it gives none. */
import type { PrivateKey } from "../../protocol/private-key.ts";

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

/** The file is a private key, and something is missing or was changed. */
export function damaged(): KeyFileError {
  return invalidFormat("The file is damaged.");
}

/** The file is encrypted in a way that is not known here. */
export function unknownEncryption(name: string): KeyFileError {
  return invalidFormat(`The file is encrypted with "${name}", which is not supported.`);
}
