/** The mechanisms with which a token may sign for a key, and the input of each. */
import { hash } from "node:crypto";
import { Failure } from "../../../protocol/failure.ts";
import { curves, type PublicKey } from "../../../protocol/public-key.ts";
import { type SignatureAlgorithm, signatureHashes } from "../../../protocol/signature.ts";
import { eddsaMechanism, type Mechanism, pkcs11js } from "./cryptoki.ts";
import { wordLength } from "./structures.ts";

/** A way to make one signature: C_SignInit's mechanism, and the input of C_Sign. */
export interface SigningWay {
  readonly mechanism: Mechanism;
  readonly input: Buffer;
  /** Whether the input is passed by C_SignUpdate, because C_Sign refuses long ones. */
  readonly inParts: boolean;
}

/** DigestInfo prefixes of PKCS #1 (RFC 8017, section 9.2), before the hash. */
const digestInfos = {
  sha1: Buffer.from("3021300906052b0e03021a05000414", "hex"),
  sha256: Buffer.from("3031300d060960864801650304020105000420", "hex"),
  sha512: Buffer.from("3051300d060960864801650304020305000440", "hex"),
} as const;

/** The mechanisms that hash, by the hash. */
const rsaMechanisms = {
  sha1: pkcs11js.CKM_SHA1_RSA_PKCS,
  sha256: pkcs11js.CKM_SHA256_RSA_PKCS,
  sha512: pkcs11js.CKM_SHA512_RSA_PKCS,
} as const;
const ecdsaMechanisms = {
  sha256: pkcs11js.CKM_ECDSA_SHA256,
  sha384: pkcs11js.CKM_ECDSA_SHA384,
  sha512: pkcs11js.CKM_ECDSA_SHA512,
} as const;

/** CK_EDDSA_PARAMS (PKCS#11 v3.0, section 2.3.15): no prehash and no context. */
const emptyEddsaParameters = Buffer.alloc(3 * wordLength);

/**
 * The ways to sign with a key, each of them for the same signature. The first is for a mechanism
 * that does not hash, which nearly every token has: a DigestInfo for RSA, the hash for ECDSA, the
 * data for Ed25519. The others hash by themselves, so they get the data.
 * @throws {Failure} unsupported, if the key does not support the algorithm
 */
export function signingWays(
  key: PublicKey,
  algorithm: SignatureAlgorithm,
  data: Buffer,
): [SigningWay, ...SigningWay[]] {
  switch (key.type) {
    case "rsa": {
      const name = signatureHashes[algorithm];
      if (!algorithm.includes("rsa") || name === null || name === "sha384") break;
      const digest = Buffer.concat([digestInfos[name], hash(name, data, "buffer")]);
      return [whole(pkcs11js.CKM_RSA_PKCS, digest), ...hashing(rsaMechanisms[name], data)];
    }
    case "ecdsa": {
      if (algorithm !== `ecdsa-sha2-${key.curve}`) break;
      const name = curves[key.curve].hash;
      const digest = hash(name, data, "buffer");
      return [whole(pkcs11js.CKM_ECDSA, digest), ...hashing(ecdsaMechanisms[name], data)];
    }
    case "ed25519": {
      if (algorithm !== "ssh-ed25519") break;
      const [once, parts] = hashing(eddsaMechanism, data);
      // Some libraries insist on parameters, though without them the mechanism is Ed25519.
      const mechanism = { mechanism: eddsaMechanism, parameter: emptyEddsaParameters };
      return [once, parts, { ...once, mechanism }];
    }
    default:
      break;
  }
  throw new Failure("unsupported", `The key does not sign with ${algorithm}.`);
}

function whole(mechanism: number, input: Buffer): SigningWay {
  return { mechanism: { mechanism }, input, inParts: false };
}

function hashing(mechanism: number, data: Buffer): [once: SigningWay, parts: SigningWay] {
  const once = whole(mechanism, data);
  return [once, { ...once, inParts: true }];
}
