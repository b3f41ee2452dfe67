/**
 * EncryptedPrivateKeyInfo: PKCS#8 encrypted with PBES2 (RFC 8018) with PBKDF2 or scrypt (RFC 7914),
 * or with the PKCS#12 schemes that OpenSSL supports by default.
 */
import { createDecipheriv } from "node:crypto";
import { decryptPaddedDer } from "./decrypt.ts";
import { Elements, tags } from "./der.ts";
import {
  type Announce,
  checkCost,
  checkIterations,
  type Derivation,
  decryptWithOpenSsl,
  derive,
} from "./key-derivation.ts";
import { damaged, invalidFormat, unknownEncryption } from "./loaded-key.ts";

/** An encrypted key, parsed without the passphrase. */
type EncryptedPkcs8 =
  | {
      readonly type: "pbes2";
      readonly derivation: Derivation;
      readonly cipher: Cipher;
      readonly iv: Buffer;
      readonly body: Buffer;
    }
  /** OpenSSL decrypts it. */
  | { readonly type: "pkcs12"; readonly iterations: number; readonly der: Buffer };

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

/** PKCS#12 schemes with three-key and two-key 3DES, which OpenSSL supports without the legacy provider. */
const pkcs12Oid = /^1\.2\.840\.113549\.1\.12\.1\.[34]$/;
/** Other schemes of PKCS#12 and PKCS#5, and DES and RC2 with PBES2, which need that provider. */
const legacyOid = /^1\.2\.840\.113549\.(1\.12\.1|1\.5|3)\.\d+$|^1\.3\.14\.3\.2\.7$/;

const pbes2 = "1.2.840.113549.1.5.13";

/** The message for ciphers of OpenSSL's legacy provider. */
export const oldCipher =
  "The file is encrypted with a cipher that is not supported any more; convert it with: openssl pkey -provider legacy -provider default -aes256 -in FILE -out NEWFILE";

/**
 * Parses an encrypted key.
 * @throws {KeyFileError} if it is damaged, unsupported or too costly
 */
export function readEncryptedPkcs8(der: Buffer): EncryptedPkcs8 {
  const outer = Elements.ofSequence(der);
  const algorithm = outer.sequence();
  const body = outer.next(tags.octetString);
  outer.end();
  const oid = algorithm.oid();
  if (oid !== pbes2) {
    if (!pkcs12Oid.test(oid)) throw unsupportedAlgorithm(oid);
    const parameters = algorithm.sequence();
    parameters.next(tags.octetString);
    const iterations = parameters.number();
    checkIterations(iterations);
    return { type: "pkcs12", iterations, der };
  }
  const parameters = algorithm.sequence();
  const derivation = readDerivation(parameters.sequence());
  const scheme = parameters.sequence();
  const cipherOid = scheme.oid();
  const cipher = ciphers[cipherOid];
  if (cipher === undefined) throw unsupportedAlgorithm(cipherOid);
  const iv = scheme.next(tags.octetString);
  const isWhole = body.length > 0 && body.length % cipher.block === 0;
  if (!isWhole || iv.length !== cipher.block) throw damaged();
  checkCost(derivation, cipher.key);
  return { type: "pbes2", derivation, cipher, iv, body };
}

function unsupportedAlgorithm(oid: string) {
  return legacyOid.test(oid) ? invalidFormat(oldCipher) : unknownEncryption(oid);
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
 * @returns PKCS#8 in DER, which the caller overwrites; undefined if the passphrase is wrong
 * @throws {KeyFileError}
 */
export async function decryptPkcs8(
  encrypted: EncryptedPkcs8,
  passphrase: Buffer,
  announce?: Announce,
): Promise<Buffer | undefined> {
  if (encrypted.type === "pkcs12") {
    return decryptWithOpenSsl(encrypted.der, encrypted.iterations, passphrase, announce);
  }
  const { derivation, cipher, iv, body } = encrypted;
  const key = await derive(derivation, passphrase, cipher.key, announce);
  try {
    const decipher = createDecipheriv(cipher.name, key, iv).setAutoPadding(false);
    return decryptPaddedDer(decipher, body, cipher.block);
  } finally {
    key.fill(0);
  }
}
