/** Private keys in the clear, and their encodings while they are shielded. */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { errorCode } from "../../openssh/strerror.ts";
import type { CompositeSecret } from "../../protocol/composite.ts";
import { invalidKey } from "../../protocol/failure.ts";
import { openMlDsaKey } from "../../protocol/ml-dsa-key.ts";
import type { PrivateKey } from "../../protocol/private-key.ts";
import { halves, mlDsaLengths } from "../../protocol/public-key.ts";
import type { FreedMemory } from "../host/freed-memory.ts";
import { ed25519Der, type PrivateDer, privateDer } from "./private-der.ts";

/** A private key that can sign. */
export type ClearKey =
  | { readonly type: "single"; readonly object: KeyObject }
  | { readonly type: "composite"; readonly secret: CompositeSecret };

/** A private key in bytes, which are a secret. */
export type EncodedKey = PrivateDer | { readonly type: "seeds"; readonly bytes: Buffer };

/**
 * Encodes a private key. The caller overwrites the bytes.
 * @throws {Failure} malformed, for invalid numbers; unsupported, for FIDO keys
 */
export function encodeKey(key: PrivateKey): EncodedKey {
  const { secret } = key;
  if (secret.type !== "mldsa44-ed25519") return privateDer(key);
  return { type: "seeds", bytes: Buffer.concat([secret.mlDsaSeed, secret.ed25519Seed]) };
}

/** Makes a key that can sign, and overwrites its encoding. @throws {Failure} malformed */
export function openKey(freedMemory: FreedMemory, encoded: EncodedKey): ClearKey {
  try {
    if (encoded.type !== "seeds") {
      return { type: "single", object: keyObject(freedMemory, encoded) };
    }
    const [mlDsaSeed, ed25519Seed] = halves(encoded.bytes, mlDsaLengths.seed);
    const ed25519 = keyObject(freedMemory, ed25519Der(ed25519Seed));
    return { type: "composite", secret: { mlDsa: openMlDsaKey(mlDsaSeed), ed25519 } };
  } finally {
    encoded.bytes.fill(0);
  }
}

/** Overwrites what no garbage collection would. OpenSSL overwrites a key when that is collected. */
export function wipeKey(key: ClearKey): void {
  if (key.type === "composite") key.secret.mlDsa.wipe();
}

/** Whether this Node.js makes keys of raw numbers; assumed until it has refused one. */
let hasRawKeys = true;

/** Makes OpenSSL's key, and overwrites the DER. */
function keyObject(freedMemory: FreedMemory, encoded: PrivateDer): KeyObject {
  try {
    return rawObject(encoded) ?? decodedObject(freedMemory, encoded);
  } catch {
    throw invalidKey("Invalid values in a private key.");
  } finally {
    encoded.bytes.fill(0);
  }
}

/** OpenSSL copies a raw number only into the key itself. */
function rawObject({ bytes, raw, numberLength }: PrivateDer): KeyObject | undefined {
  if (raw === undefined || !hasRawKeys) return;
  const { at, ...keyType } = raw;
  try {
    const key = bytes.subarray(at, at + numberLength);
    return createPrivateKey({ key, format: "raw-private", ...keyType });
  } catch (error) {
    if (errorCode(error) !== "ERR_INVALID_ARG_VALUE") throw error;
    hasRawKeys = false;
    return;
  }
}

function decodedObject(
  freedMemory: FreedMemory,
  { type, bytes, numberLength }: PrivateDer,
): KeyObject {
  // The DER is copied to a buffer whose size grows by thirds.
  const sizes = [Math.floor((bytes.length + 3) / 3) * 4, numberLength];
  return freedMemory.clearAfter(sizes, () => createPrivateKey({ key: bytes, format: "der", type }));
}
