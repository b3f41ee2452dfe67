/** Public keys as `KeyObject`s of `node:crypto`. */
import { createPublicKey, type KeyObject } from "node:crypto";
import { type DsaPublicKey, dsaPublicDer } from "./dsa.ts";
import { Failure, invalidKey } from "./failure.ts";
import { type CompositePublicKey, curves, type PublicKey } from "./public-key.ts";

/**
 * A public key as a `KeyObject`, to verify with.
 * @throws {Failure} malformed, for an invalid key, such as a point that is not on its curve;
 *   unsupported, for a composite key, which is two
 */
export function toKeyObject(key: PublicKey): KeyObject {
  if (key.type === "mldsa44-ed25519") {
    throw new Failure("unsupported", "A composite key is no single key of OpenSSL.");
  }
  try {
    if (key.type === "dsa") {
      return createPublicKey({ key: dsaPublicDer(key), format: "der", type: "spki" });
    }
    return createPublicKey({ format: "jwk", key: toJwk(key) });
  } catch {
    throw invalidKey("Invalid values in a public key.");
  }
}

function toJwk(key: Exclude<PublicKey, DsaPublicKey | CompositePublicKey>): Record<string, string> {
  switch (key.type) {
    case "rsa":
      return { kty: "RSA", n: key.n.toString("base64url"), e: key.e.toString("base64url") };
    case "ecdsa":
    case "sk-ecdsa": {
      const { jwk, bytes } = curves[key.curve];
      const x = key.point.subarray(1, 1 + bytes).toString("base64url");
      const y = key.point.subarray(1 + bytes).toString("base64url");
      return { kty: "EC", crv: jwk, x, y };
    }
    case "ed25519":
    case "sk-ed25519":
      return { kty: "OKP", crv: "Ed25519", x: key.publicKey.toString("base64url") };
  }
}
