/** Keys to sign with, in memory and on a SoftHSM token. */
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
import type { Workspace } from "./workspace.ts";

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
 * The JWK fields of a key in PKCS#8. In Node.js 20, a KeyObject from generateKeyPairSync can deadlock
 * when it is exported as a JWK during garbage collection, so the key is imported from PKCS#8.
 */
function fieldsOf(pkcs8: Buffer): JsonWebKey {
  return createPrivateKey({ key: pkcs8, type: "pkcs8", format: "der" }).export({ format: "jwk" });
}

function field(jwk: JsonWebKey, name: keyof JsonWebKey): Buffer {
  const value = jwk[name];
  if (typeof value !== "string") throw new Error(`A new key has no field "${String(name)}".`);
  return Buffer.from(value, "base64url");
}

/** A token with an RSA-2048 key and a P-256 key. */
export interface Token {
  /** The PKCS#11 library; its SOFTHSM2_CONF is in the environment of the workspace. */
  readonly library: string;
  readonly pin: string;
}

const libraries = [
  "/usr/lib/softhsm/libsofthsm2.so",
  "/usr/lib64/pkcs11/libsofthsm2.so",
  "/usr/local/lib/softhsm/libsofthsm2.so",
];

/** Makes a token for the programs that run in `workspace`. */
export function makeToken(workspace: Workspace): Token {
  const found = libraries.find((path) => existsSync(path));
  if (found === undefined) throw new Error("SoftHSM is missing: apt-get install softhsm2");
  const library = realpathSync(found);
  const tokens = join(workspace.folder, "tokens");
  const conf = join(workspace.folder, "softhsm2.conf");
  mkdirSync(tokens);
  writeFileSync(
    conf,
    `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`,
  );
  workspace.env.SOFTHSM2_CONF = conf;
  const pin = String(100_000 + (randomBytes(4).readUInt32BE() % 900_000));
  const run = (program: string, args: string[]) =>
    execFileSync(program, args, { env: workspace.env, stdio: ["ignore", "ignore", "pipe"] });
  // The PIN is visible to other users in the arguments, but the token exists for this run only.
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
