/**
 * Traditional PEM encryption: the headers `Proc-Type: 4,ENCRYPTED` and `DEK-Info: CIPHER,IV`
 * (RFC 1421), and OpenSSL's key derivation.
 */
import { createDecipheriv, createHash, getCipherInfo } from "node:crypto";
import { secretBytes } from "../../protocol/secret-bytes.ts";
import { decryptPaddedDer } from "./decrypt.ts";
import { damaged, invalidFormat, unknownEncryption, wrongPassphrase } from "./loaded-key.ts";
import { oldCipher } from "./pkcs8-encryption.ts";

/** The parsed headers. */
interface Headers {
  /** As in "AES-128-CBC". */
  readonly cipher: string;
  readonly iv: Buffer;
  /** The headers' length in bytes. */
  readonly length: number;
}

/** The separator between words, also in reformatted files; see armour.ts. */
const between = String.raw`(?:[\s"'\x80-\xff]|\\[nrt])*`;
const pattern = new RegExp(
  ["^", "Proc-Type:", "4,ENCRYPTED", "DEK-Info:", "([A-Za-z0-9-]+),([0-9A-Fa-f]+)"].join(between),
);

/** Reads the headers before a body; undefined without headers. @throws {KeyFileError} */
export function readHeaders(body: Buffer): Headers | undefined {
  const beginning = body.subarray(0, 512);
  if (!beginning.includes("Proc-Type:")) return undefined; // no string holds a plain key
  const start = beginning.toString("latin1");
  const [all, cipher = "", digits = ""] = pattern.exec(start) ?? [];
  if (all === undefined) throw damaged();
  const information = getCipherInfo(cipher.toLowerCase());
  if (information?.mode !== "cbc") throw unknownEncryption(cipher);
  // In a file on a single line, the base64 may follow the IV's digits directly.
  const count = 2 * (information.ivLength ?? 0);
  if (digits.length < count) throw damaged();
  const length = all.length - digits.length + count;
  return { cipher: cipher.toLowerCase(), iv: Buffer.from(digits.slice(0, count), "hex"), length };
}

/**
 * Decrypts.
 * @param bytes the decoded body
 * @param passphrase empty for none
 * @returns DER, which the caller overwrites; undefined if the passphrase is wrong
 * @throws {KeyFileError}
 */
export function readBody(
  { cipher, iv }: Headers,
  bytes: Buffer,
  passphrase: Buffer,
): Buffer | undefined {
  const { keyLength = 0, blockSize = 1 } = getCipherInfo(cipher) ?? {};
  if (bytes.length % blockSize !== 0) throw damaged();
  const key = deriveKey(passphrase, iv.subarray(0, 8), keyLength);
  try {
    const decipher = openCipher(cipher, key, iv);
    if (passphrase.length === 0) throw wrongPassphrase();
    return decryptPaddedDer(decipher, bytes, blockSize);
  } finally {
    key.fill(0);
  }
}

function openCipher(cipher: string, key: Buffer, iv: Buffer) {
  try {
    return createDecipheriv(cipher, key, iv).setAutoPadding(false);
  } catch {
    throw invalidFormat(oldCipher);
  }
}

/** EVP_BytesToKey with MD5 and one round. */
function deriveKey(passphrase: Buffer, salt: Buffer, length: number): Buffer {
  const key = secretBytes(length);
  let last = Buffer.alloc(0);
  for (let at = 0; at < length; at += last.length) {
    const hash = createHash("md5").update(last).update(passphrase).update(salt);
    last.fill(0);
    last = hash.digest();
    last.copy(key, at);
  }
  last.fill(0);
  return key;
}
