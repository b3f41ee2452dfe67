/** Signing with a `KeyObject`: at once, or on another thread. */
import { type KeyObject, sign } from "node:crypto";
import { encodeSignature, type SignatureAlgorithm, signatureHash } from "./signature.ts";

/**
 * Signs at once and returns the signature blob. For key types that take microseconds.
 * @param key the private key
 */
export function signNow(key: KeyObject, algorithm: SignatureAlgorithm, data: Uint8Array): Buffer {
  const raw = sign(signatureHash(algorithm), data, { key, dsaEncoding: "ieee-p1363" });
  return encodeSignature(algorithm, raw);
}

/** Signs on another thread and resolves with the signature blob. `data` must not change meanwhile. */
export function signLater(
  key: KeyObject,
  algorithm: SignatureAlgorithm,
  data: Uint8Array,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(signatureHash(algorithm), data, { key, dsaEncoding: "ieee-p1363" }, (error, raw) => {
      if (error) reject(error);
      else resolve(encodeSignature(algorithm, raw));
    });
  });
}
