/** Keys to sign with: made here, for in-memory keys, and on a SoftHSM token, for those of a card. */
import { execFileSync } from "node:child_process";
import {
  createPrivateKey,
  type ED25519KeyPairOptions,
  generateKeyPairSync,
  type JsonWebKey,
  randomBytes,
} from "node:crypto";
import { existsSync, mkdirSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { PrivateKey } from "../protocol/private-key.ts";
import type { Place } from "./place.ts";

const encodings: ED25519KeyPairOptions<"der", "der"> = {
  privateKeyEncoding: { type: "pkcs8", format: "der" },
  publicKeyEncoding: { type: "spki", format: "der" },
};

/** A new RSA key of 3072 bits. */
export function makeRsaKey(): PrivateKey {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 3072, ...encodings });
  const jwk = fieldsOf(privateKey);
  return {
    publicKey: { type: "rsa", n: field(jwk, "n"), e: field(jwk, "e") },
    secret: {
      type: "rsa",
      d: field(jwk, "d"),
      iqmp: field(jwk, "qi"),
      p: field(jwk, "p"),
      q: field(jwk, "q"),
    },
    certificate: undefined,
  };
}

/** A new ECDSA key on P-256. */
export function makeEcdsaKey(): PrivateKey {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256", ...encodings });
  const jwk = fieldsOf(privateKey);
  const point = Buffer.concat([Buffer.of(4), field(jwk, "x"), field(jwk, "y")]);
  return {
    publicKey: { type: "ecdsa", curve: "nistp256", point },
    secret: { type: "ecdsa", d: field(jwk, "d") },
    certificate: undefined,
  };
}

/** A new Ed25519 key. */
export function makeEd25519Key(): PrivateKey {
  const jwk = fieldsOf(generateKeyPairSync("ed25519", encodings).privateKey);
  return {
    publicKey: { type: "ed25519", publicKey: field(jwk, "x") },
    secret: { type: "ed25519", seed: field(jwk, "d") },
    certificate: undefined,
  };
}

/**
 * The fields of a key in PKCS#8. A KeyObject that comes right from its generator is not exported
 * as a JWK: in Node.js 20 that waits for ever when the garbage collector meets the generator then.
 */
function fieldsOf(pkcs8: Buffer): JsonWebKey {
  return createPrivateKey({ key: pkcs8, type: "pkcs8", format: "der" }).export({ format: "jwk" });
}

function field(jwk: JsonWebKey, name: keyof JsonWebKey): Buffer {
  const value = jwk[name];
  if (typeof value !== "string") throw new Error(`A new key has no field "${String(name)}".`);
  return Buffer.from(value, "base64url");
}

/** A token with a key of RSA-2048 and one on P-256. */
export interface Token {
  /** The PKCS#11 library; it needs SOFTHSM2_CONF, which `makeToken` has put into the place. */
  readonly library: string;
  readonly pin: string;
}

const libraries = [
  "/usr/lib/softhsm/libsofthsm2.so",
  "/usr/lib64/pkcs11/libsofthsm2.so",
  "/usr/local/lib/softhsm/libsofthsm2.so",
];

/** Makes a token. From then on all programs that start in `place` find it. */
export function makeToken(place: Place): Token {
  const found = libraries.find((path) => existsSync(path));
  if (found === undefined) throw new Error("SoftHSM is missing: apt-get install softhsm2");
  const library = realpathSync(found);
  const tokens = join(place.folder, "tokens");
  const conf = join(place.folder, "softhsm2.conf");
  mkdirSync(tokens);
  writeFileSync(
    conf,
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  place.env.SOFTHSM2_CONF = conf;
  const pin = String(100_000 + (randomBytes(4).readUInt32BE() % 900_000));
  const run = (program: string, args: string[]) =>
    execFileSync(program, args, { env: place.env, stdio: ["ignore", "ignore", "pipe"] });
  // A PIN of a token that exists for this run alone may be seen by other users of the machine.
  run("softhsm2-util", [
    "--init-token",
    "--free",
    "--label=bench",
    `--pin=${pin}`,
    "--so-pin=0000",
  ]);
  for (const [id, type] of [
    ["01", "rsa:2048"],
    ["02", "EC:prime256v1"],
  ] as const) {
    const key = ["--keypairgen", `--key-type=${type}`, `--id=${id}`, `--label=bench ${id}`];
    run("pkcs11-tool", [`--module=${library}`, "--login", `--pin=${pin}`, "--usage-sign", ...key]);
  }
  return { library, pin };
}
