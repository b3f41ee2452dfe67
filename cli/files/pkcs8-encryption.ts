/**
 * EncryptedPrivateKeyInfo: PKCS#8 under a passphrase by PBES2 (RFC 8018) with PBKDF2 or scrypt
 * (RFC 7914), and by the older kinds that OpenSSL still knows.
 */
import { createDecipheriv } from "node:crypto";
import { decryptDer } from "./deciphering.ts";
import { Elements, tags } from "./der.ts";
import {
  type Announce,
  type Derivation,
  decryptWithOpenSsl,
  derive,
  refuseExcess,
  refuseIterations,
} from "./key-derivation.ts";
import { damaged, invalidFormat, unknownEncryption } from "./loaded-key.ts";

/** A key under encryption: what is known of it without the passphrase. */
type EncryptedPkcs8 =
  | {
      readonly type: "pbes2";
      readonly derivation: Derivation;
      readonly cipher: Cipher;
      readonly iv: Buffer;
      readonly body: Buffer;
    }
  /** For OpenSSL to decrypt as a whole. */
  | { readonly type: "older"; readonly iterations: number; readonly whole: Buffer };

interface Cipher {
  /** OpenSSL's name. */
  readonly name: string;
  /** Bytes. */
  readonly key: number;
  readonly block: number;
}

const ciphers: Readonly<Record<string, Cipher>> = {
  "2.16.840.1.101.3.4.1.2": { name: "aes-128-cbc", key: 16, block: 16 },
  "2.16.840.1.101.3.4.1.22": { name: "aes-192-cbc", key: 24, block: 16 },
  "2.16.840.1.101.3.4.1.42": { name: "aes-256-cbc", key: 32, block: 16 },
  "1.2.840.113549.3.7": { name: "des-ede3-cbc", key: 24, block: 8 },
  "1.2.392.200011.61.1.1.1.2": { name: "camellia-128-cbc", key: 16, block: 16 },
  "1.2.392.200011.61.1.1.1.3": { name: "camellia-192-cbc", key: 24, block: 16 },
  "1.2.392.200011.61.1.1.1.4": { name: "camellia-256-cbc", key: 32, block: 16 },
  "1.2.410.200046.1.1.2": { name: "aria-128-cbc", key: 16, block: 16 },
  "1.2.410.200046.1.1.7": { name: "aria-192-cbc", key: 24, block: 16 },
  "1.2.410.200046.1.1.12": { name: "aria-256-cbc", key: 32, block: 16 },
};

/** PKCS#12's ways with three and two keys of DES: the older ones that OpenSSL does without asking. */
const older = /^1\.2\.840\.113549\.1\.12\.1\.[34]$/;
/** The others of PKCS#12 and PKCS#5, and single DES and RC2 within PBES2. */
const tooOld = /^1\.2\.840\.113549\.(1\.12\.1|1\.5|3)\.\d+$|^1\.3\.14\.3\.2\.7$/;

const pbes2 = "1.2.840.113549.1.5.13";

/** Said of ciphers that OpenSSL has put aside. */
export const oldCipher =
  "The file is encrypted with a cipher that is not supported any more; convert it with: openssl pkey -provider legacy -provider default -aes256 -in FILE -out NEWFILE";

/**
 * Reads all but what is encrypted.
 * @throws {KeyFileError} when it is damaged, not supported, or asks for too much
 */
export function readEncryptedPkcs8(der: Buffer): EncryptedPkcs8 {
  const outer = Elements.ofSequence(der);
  const algorithm = outer.sequence();
  const body = outer.next(tags.octetString);
  outer.end();
  const oid = algorithm.oid();
  if (oid !== pbes2) {
    if (!older.test(oid)) throw notSupported(oid);
    const parameters = algorithm.sequence();
    parameters.next(tags.octetString);
    const iterations = parameters.number();
    refuseIterations(iterations);
    return { type: "older", iterations, whole: der };
  }
  const parameters = algorithm.sequence();
  const derivation = readDerivation(parameters.sequence());
  const scheme = parameters.sequence();
  const cipherOid = scheme.oid();
  const cipher = ciphers[cipherOid];
  if (cipher === undefined) throw notSupported(cipherOid);
  const iv = scheme.next(tags.octetString);
  const isWhole = body.length > 0 && body.length % cipher.block === 0;
  if (!isWhole || iv.length !== cipher.block) throw damaged();
  refuseExcess(derivation, cipher.key);
  return { type: "pbes2", derivation, cipher, iv, body };
}

function notSupported(oid: string) {
  return tooOld.test(oid) ? invalidFormat(oldCipher) : unknownEncryption(oid);
}

const hashes: Readonly<Record<string, readonly [name: string, length: number]>> = {
  "1.2.840.113549.2.7": ["sha1", 20],
  "1.2.840.113549.2.8": ["sha224", 28],
  "1.2.840.113549.2.9": ["sha256", 32],
  "1.2.840.113549.2.10": ["sha384", 48],
  "1.2.840.113549.2.11": ["sha512", 64],
  "1.2.840.113549.2.12": ["sha512-224", 28],
  "1.2.840.113549.2.13": ["sha512-256", 32],
  "2.16.840.1.101.3.4.2.13": ["sha3-224", 28],
  "2.16.840.1.101.3.4.2.14": ["sha3-256", 32],
  "2.16.840.1.101.3.4.2.15": ["sha3-384", 48],
  "2.16.840.1.101.3.4.2.16": ["sha3-512", 64],
};

function readDerivation(algorithm: Elements): Derivation {
  const oid = algorithm.oid();
  const parameters = algorithm.sequence();
  const salt = parameters.next(tags.octetString);
  switch (oid) {
    case "1.2.840.113549.1.5.12": {
      const iterations = parameters.number();
      parameters.optional(tags.integer);
      const prf = parameters.optional(tags.sequence);
      const prfOid = prf === undefined ? "1.2.840.113549.2.7" : new Elements(prf).oid();
      const [hash, hashLength] = hashes[prfOid] ?? [];
      if (hash === undefined || hashLength === undefined) throw unknownEncryption(prfOid);
      if (iterations === 0) throw damaged();
      return { type: "pbkdf2", salt, iterations, hash, hashLength };
    }
    case "1.3.6.1.4.1.11591.4.11": {
      const [n, r, p] = [parameters.number(), parameters.number(), parameters.number()];
      if (n < 2 || !Number.isInteger(Math.log2(n)) || r === 0 || p === 0) throw damaged();
      return { type: "scrypt", salt, n, r, p };
    }
    default:
      throw unknownEncryption(oid);
  }
}

/**
 * Decrypts.
 * @returns PKCS#8 in DER, the caller's to overwrite; undefined when the passphrase is not the right one
 * @throws {KeyFileError}
 */
export async function decryptPkcs8(
  encrypted: EncryptedPkcs8,
  passphrase: Buffer,
  announce?: Announce,
): Promise<Buffer | undefined> {
  if (encrypted.type === "older") {
    return decryptWithOpenSsl(encrypted.whole, encrypted.iterations, passphrase, announce);
  }
  const { derivation, cipher, iv, body } = encrypted;
  const key = await derive(derivation, passphrase, cipher.key, announce);
  try {
    const decipher = createDecipheriv(cipher.name, key, iv).setAutoPadding(false);
    return decryptDer(decipher, body, cipher.block);
  } finally {
    key.fill(0);
  }
}
