/**
 * ML-DSA-44 keys: OpenSSL's, whose time depends on no secret, where Node.js makes them of raw bytes
 * (24.15 and newer), otherwise those of `ml-dsa.ts`.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign, verify } from "node:crypto";
import { expandMlDsaSeed, mlDsaSign, mlDsaVerify, wipeMlDsaSecret } from "./ml-dsa.ts";
import { mlDsaLengths } from "./public-key.ts";

/** A private key that is ready to sign. */
export interface MlDsaKey {
  /** A hedged signature, 2,420 bytes. @param context at most 255 bytes */
  sign(message: Uint8Array, context: Uint8Array): Buffer;
  /** Overwrites what no garbage collection would. OpenSSL overwrites its key when that is collected. */
  wipe(): void;
}

const asymmetricKeyType = "ml-dsa-44";

/** Makes a key that can sign. @param seed 32 bytes, which the caller overwrites */
export function openMlDsaKey(seed: Uint8Array): MlDsaKey {
  if (hasOpenSslKeys()) {
    const key = openPrivateKey(seed);
    return { sign: (message, context) => sign(null, message, { key, context }), wipe() {} };
  }
  const { secret } = expandMlDsaSeed(seed);
  return {
    sign: (message, context) => mlDsaSign(secret, message, context),
    wipe: () => wipeMlDsaSecret(secret),
  };
}

/** The public key for a seed of 32 bytes. OpenSSL's copy of the seed is overwritten when it is collected. */
export function mlDsaPublicKey(seed: Uint8Array): Buffer {
  if (hasOpenSslKeys())
    return createPublicKey(openPrivateKey(seed)).export({ format: "raw-public" });
  const { publicKey, secret } = expandMlDsaSeed(seed);
  wipeMlDsaSecret(secret);
  return publicKey;
}

/** Whether a signature is valid. A key or signature of another length is invalid. */
export function verifyMlDsa(
  publicKey: Uint8Array,
  message: Uint8Array,
  context: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (!hasOpenSslKeys()) return mlDsaVerify(publicKey, message, context, signature);
  if (publicKey.length !== mlDsaLengths.publicKey) return false;
  return verify(null, message, { key: openPublicKey(publicKey), context }, signature);
}

function openPrivateKey(key: Uint8Array): KeyObject {
  return createPrivateKey({ key, format: "raw-seed", asymmetricKeyType });
}

function openPublicKey(key: Uint8Array): KeyObject {
  return createPublicKey({ key, format: "raw-public", asymmetricKeyType });
}

let openSslKeys: boolean | undefined;

/** Tries a public key once: any bytes of its length are one. */
function hasOpenSslKeys(): boolean {
  if (openSslKeys === undefined) {
    try {
      openPublicKey(Buffer.alloc(mlDsaLengths.publicKey));
      openSslKeys = true;
    } catch {
      openSslKeys = false;
    }
  }
  return openSslKeys;
}
