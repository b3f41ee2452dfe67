/** Signing with a `KeyObject`, on this thread or in the thread pool. */
import { type KeyObject, sign } from "node:crypto";
import { encodeSignature, type SignatureAlgorithm, signatureHashes } from "./signature.ts";

/** Signs on this thread, for key types that take microseconds. @returns the signature blob */
export function signSync(key: KeyObject, algorithm: SignatureAlgorithm, data: Uint8Array): Buffer {
  const raw = sign(signatureHashes[algorithm], data, { key, dsaEncoding: "ieee-p1363" });
  return encodeSignature(algorithm, raw);
}

/** Signs in the thread pool; `data` must not change meanwhile. @returns the signature blob */
export function signAsync(
  key: KeyObject,
  algorithm: SignatureAlgorithm,
  data: Uint8Array,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    sign(signatureHashes[algorithm], data, { key, dsaEncoding: "ieee-p1363" }, (error, raw) => {
      if (error) reject(error);
      else resolve(encodeSignature(algorithm, raw));
    });
  });
}
