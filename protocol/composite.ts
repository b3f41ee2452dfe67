/**
 * Signatures by composite keys (draft-miller-sshm-mldsa44-ed25519-composite-sigs-00 over
 * draft-ietf-lamps-pq-composite-sigs): ML-DSA-44 and Ed25519 both sign the hash of the data, with a
 * prefix that keeps either half from being valid by itself.
 */
import { createHash, type KeyObject, sign, verify } from "node:crypto";
import { toKeyObject } from "./key-object.ts";
import { type MlDsaKey, verifyMlDsa } from "./ml-dsa-key.ts";
import { type CompositePublicKey, halves, mlDsaLengths } from "./public-key.ts";

const prefix = Buffer.from("CompositeAlgorithmSignatures2025");
/** Also the context of ML-DSA's half. */
const label = Buffer.from("COMPSIG-MLDSA44-Ed25519-SHA512");

/** The private halves of a composite key. */
export interface CompositeSecret {
  readonly mlDsa: MlDsaKey;
  readonly ed25519: KeyObject;
}

/** Signs on this thread, in one or two milliseconds. @returns both signatures, 2,484 bytes */
export function signComposite({ mlDsa, ed25519 }: CompositeSecret, data: Uint8Array): Buffer {
  const message = signedMessage(data);
  return Buffer.concat([mlDsa.sign(message, label), sign(null, message, ed25519)]);
}

/** Whether both signatures in `raw`, of 2,484 bytes, are valid. */
export function verifyComposite(key: CompositePublicKey, raw: Buffer, data: Uint8Array): boolean {
  const message = signedMessage(data);
  const [mlDsa, ed25519] = halves(raw, mlDsaLengths.signature);
  const edwards = toKeyObject({ type: "ed25519", publicKey: key.ed25519 });
  return verify(null, message, edwards, ed25519) && verifyMlDsa(key.mlDsa, message, label, mlDsa);
}

/** M′, with SSH's empty context. */
function signedMessage(data: Uint8Array): Buffer {
  const hash = createHash("sha512").update(data).digest();
  return Buffer.concat([prefix, label, Buffer.of(0), hash]);
}
