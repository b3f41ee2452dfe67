/** Private key files in OpenSSH's, PEM and PuTTY's formats. */
import { type PrivateKey, wipePrivateKey } from "../../protocol/private-key.ts";
import { keyBits, maxRsaBits, minRsaBits } from "../../protocol/public-key.ts";
import { isLess } from "../../protocol/wire.ts";
import { type Armoured, decodeBase64, readArmour, withoutByteOrderMark } from "./armour.ts";
import type { Announce } from "./key-derivation.ts";
import { damaged, invalidFormat, KeyFileError, type LoadedKey } from "./loaded-key.ts";
import { containerLabel, readContainer } from "./openssh-container.ts";
import { isPutty } from "./putty-file.ts";

/**
 * Reads a private key. An incomplete, unsupported or too costly file is refused whatever the
 * passphrase, so that the user is not asked for it.
 * @param file the bytes of the file, which are not changed
 * @param passphrase empty for none
 * @param announce called before slow work
 * @throws {KeyFileError}
 */
export async function readPrivateKeyFile(
  file: Buffer,
  passphrase: Buffer,
  announce?: Announce,
): Promise<LoadedKey> {
  const loaded = await readAny(withoutByteOrderMark(file), passphrase, announce);
  try {
    checkRsa(loaded.key);
    return loaded;
  } catch (error) {
    wipePrivateKey(loaded.key);
    throw error;
  }
}

async function readAny(
  file: Buffer,
  passphrase: Buffer,
  announce: Announce | undefined,
): Promise<LoadedKey> {
  const armoured = readArmour(file, (label) => label.endsWith("PRIVATE KEY"));
  if (armoured?.label === containerLabel) return readOpenSsh(armoured, passphrase, announce);
  if (armoured !== undefined) {
    const { readPem } = await import("./pem.ts");
    return readPem(armoured, passphrase, announce);
  }
  if (isPutty(file)) {
    const { readPutty } = await import("./putty-private.ts");
    return readPutty(file, passphrase, announce);
  }
  const { describeNonKey } = await import("./foreign-file.ts");
  throw invalidFormat(describeNonKey(file));
}

async function readOpenSsh(
  { body }: Armoured,
  passphrase: Buffer,
  announce: Announce | undefined,
): Promise<LoadedKey> {
  const bytes = decodeBase64(body);
  try {
    const container = bytes && readContainer(bytes);
    if (container === undefined) throw damaged();
    const { openContainer } = await import("./openssh-private.ts");
    return await openContainer(container, passphrase, announce);
  } catch (error) {
    throw error instanceof KeyFileError ? error : damaged();
  } finally {
    bytes?.fill(0);
  }
}

/** Refuses RSA keys that agents refuse: of another length, or with fields larger than the modulus. */
function checkRsa({ publicKey, secret }: PrivateKey): void {
  if (publicKey.type !== "rsa" || secret.type !== "rsa") return;
  const bits = keyBits(publicKey);
  if (bits < minRsaBits || bits > maxRsaBits) {
    throw new KeyFileError("Invalid key length", {
      explanation: `An RSA key of ${bits} bits is not accepted: it takes ${minRsaBits} to ${maxRsaBits}.`,
    });
  }
  for (const number of [secret.d, secret.p, secret.q, secret.iqmp]) {
    if (number.length === 0 || !isLess(number, publicKey.n)) {
      throw invalidFormat("The values of this RSA key do not match each other.");
    }
  }
}
