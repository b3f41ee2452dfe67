/** Fingerprints of keys. */
import { createHash } from "node:crypto";
import type { FingerprintHash } from "./public-key.ts";

/**
 * The fingerprint of a plain key's blob as OpenSSH prints it: `SHA256:` and base64 without padding
 * (likewise for the other SHA hashes), or `MD5:` and hexadecimal pairs. A certificate has the
 * fingerprint of its plain key.
 */
export function fingerprint(keyBlob: Uint8Array, hash: FingerprintHash = "sha256"): string {
  const digest = createHash(hash).update(keyBlob).digest();
  if (hash === "md5") return `MD5:${digest.toString("hex").replace(/..(?=.)/g, "$&:")}`;
  return `${hash.toUpperCase()}:${digest.toString("base64").replace(/=+$/, "")}`;
}
