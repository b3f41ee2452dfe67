/** Helpers for the tests of key files. */
import { KeyFileError } from "./loaded-key.ts";
import { readPrivateKeyFile } from "./private-key-file.ts";

/** Why a private key file cannot be read. */
export async function problem(
  file: Buffer | string,
  passphrase: Buffer | string = "",
): Promise<KeyFileError> {
  try {
    await readPrivateKeyFile(Buffer.from(file), Buffer.from(passphrase));
  } catch (error) {
    if (error instanceof KeyFileError) return error;
    throw error;
  }
  throw new Error("It was read.");
}
