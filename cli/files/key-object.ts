/** A `KeyObject` taken apart into the fields that travel to an agent. */
import { createPublicKey, type KeyObject } from "node:crypto";
import type { PrivateKey } from "../../protocol/private-key.ts";
import type { CurveName } from "../../protocol/public-key.ts";
import {
  readDsaPrivateKey,
  readDsaPublicNumber,
  readEcScalar,
  readEd25519Seed,
  readRsaPrivateKey,
} from "./der.ts";

/** The curves by OpenSSL's names. */
const curveNames: Readonly<Record<string, CurveName>> = {
  prime256v1: "nistp256",
  secp384r1: "nistp384",
  secp521r1: "nistp521",
};

/**
 * The fields of a private key; undefined for a kind that SSH has no name for.
 * @throws {Failure} malformed
 */
export function privateKeyFields(key: KeyObject): PrivateKey | undefined {
  switch (key.asymmetricKeyType) {
    case "rsa": {
      const { n, e, ...secret } = readRsaPrivateKey(key.export({ format: "der", type: "pkcs1" }));
      return {
        publicKey: { type: "rsa", n, e },
        secret: { type: "rsa", ...secret },
        certificate: undefined,
      };
    }
    case "ec": {
      const curve = curveNames[key.asymmetricKeyDetails?.namedCurve ?? ""];
      if (curve === undefined) return undefined;
      const d = readEcScalar(key.export({ format: "der", type: "sec1" }));
      return {
        publicKey: { type: "ecdsa", curve, point: uncompressedPoint(key) },
        secret: { type: "ecdsa", d },
        certificate: undefined,
      };
    }
    case "ed25519": {
      const seed = readEd25519Seed(key.export({ format: "der", type: "pkcs8" }));
      const encoded = createPublicKey(key).export({ format: "der", type: "spki" });
      return {
        publicKey: { type: "ed25519", publicKey: encoded.subarray(-32) },
        secret: { type: "ed25519", seed },
        certificate: undefined,
      };
    }
    case "dsa": {
      const { x, ...numbers } = readDsaPrivateKey(key.export({ format: "der", type: "pkcs8" }));
      const encoded = createPublicKey(key).export({ format: "der", type: "spki" });
      const y = readDsaPublicNumber(encoded);
      return {
        publicKey: { type: "dsa", ...numbers, y },
        secret: { type: "dsa", x },
        certificate: undefined,
      };
    }
    default:
      return undefined;
  }
}

/** The public point, also of a key whose file leaves it out or has it in its compressed form. */
function uncompressedPoint(key: KeyObject): Buffer {
  const { x = "", y = "" } = createPublicKey(key).export({ format: "jwk" });
  return Buffer.concat([Buffer.of(4), Buffer.from(x, "base64url"), Buffer.from(y, "base64url")]);
}
