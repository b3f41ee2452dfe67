/** The input of C_Sign, its mechanism, and the length of its signature. */
import { hash } from "node:crypto";
import { Failure } from "../../../protocol/failure.ts";
import { curves, type PublicKey } from "../../../protocol/public-key.ts";
import { type SignatureAlgorithm, signatureHashes } from "../../../protocol/signature.ts";
import { eddsaMechanism, pkcs11js } from "./cryptoki.ts";

/** DigestInfo prefixes of PKCS #1 (RFC 8017, section 9.2), before the hash. */
const digestInfos = {
  sha1: Buffer.from("3021300906052b0e03021a05000414", "hex"),
  sha256: Buffer.from("3031300d060960864801650304020105000420", "hex"),
  sha512: Buffer.from("3051300d060960864801650304020305000440", "hex"),
} as const;

/**
 * The input of C_Sign, for mechanisms that do not hash: a DigestInfo for RSA, the hash for ECDSA,
 * the data for Ed25519.
 * @throws {Failure} unsupported, if the key does not support the algorithm
 */
export function signatureInput(
  key: PublicKey,
  algorithm: SignatureAlgorithm,
  data: Buffer,
): Buffer {
  switch (key.type) {
    case "rsa": {
      const name = signatureHashes[algorithm];
      if (!algorithm.includes("rsa") || name === null || name === "sha384") break;
      return Buffer.concat([digestInfos[name], hash(name, data, "buffer")]);
    }
    case "ecdsa":
      if (algorithm !== `ecdsa-sha2-${key.curve}`) break;
      return hash(curves[key.curve].hash, data, "buffer");
    case "ed25519":
      if (algorithm !== "ssh-ed25519") break;
      return data;
    default:
      break;
  }
  throw new Failure("unsupported", `The key does not sign with ${algorithm}.`);
}

/** The CKM_ mechanism for a key. */
export function signatureMechanism(key: PublicKey): number {
  if (key.type === "rsa") return pkcs11js.CKM_RSA_PKCS;
  return key.type === "ecdsa" ? pkcs11js.CKM_ECDSA : eddsaMechanism;
}

/** The length of a key's signatures, in bytes. */
export function signatureLength(key: PublicKey): number {
  if (key.type === "rsa") return key.n.length;
  return key.type === "ecdsa" ? 2 * curves[key.curve].bytes : 64;
}

/**
 * Checks the length of a signature.
 * @throws {Failure} module-crashed, as for any other fault of the library
 */
export function checkSignature(key: PublicKey, raw: Buffer): Buffer {
  const length = signatureLength(key);
  if (raw.length === length) return raw;
  const sentence = `The library gave a signature of ${raw.length} bytes instead of ${length}.`;
  throw new Failure("module-crashed", sentence, "Look for a newer version of the library.");
}
