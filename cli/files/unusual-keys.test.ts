/** Unusual keys, and keys that are refused. */

import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import test from "ava";
import { openssl } from "../../fixtures/system-programs.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { derInteger, derSequence } from "../../protocol/der.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { encodeText } from "../../protocol/text.ts";
import { makeKey, runOurs, startRecorder } from "../test-agent.ts";
import { readPrivateKeyFile } from "./private-key-file.ts";
import { loadPublicKey } from "./public-key-file.ts";
import { problem } from "./test-files.ts";

const none = Buffer.alloc(0);

function pem(label: string, der: Buffer): Buffer {
  const body = der.toString("base64").replace(/.{64}/g, "$&\n");
  return Buffer.from(`-----BEGIN ${label}-----\n${body}\n-----END ${label}-----\n`);
}

test("a comment in invalid UTF-8 keeps its bytes, with any encryption", async (t) => {
  const workspace = makeWorkspace(t);
  const comment = Buffer.from("Zo\xeb's \xff\xfe key", "latin1");
  const options = { comment: comment.toString("latin1") };
  for (const passphrase of ["", "sesame"]) {
    const path = await makeKey(workspace, `key${passphrase}`, { ...options, passphrase });
    // ssh-keygen got UTF-8; the test replaces its bytes.
    const change = `printf "Zo\\353's \\377\\376 key" >comment; ssh-keygen -q -c -C "$(cat comment)" -P '${passphrase}' -f ${path}`;
    await workspace.expect("sh", ["-c", change]);
    const loaded = await readPrivateKeyFile(readFileSync(path), Buffer.from(passphrase));
    t.deepEqual(Buffer.from(encodeText(loaded.comment)), comment);
  }
});

/** OneAsymmetricKey version 2 (RFC 5958), with the public key. */
function versionTwo(seed: Buffer, publicKey: Buffer): Buffer {
  const head = Buffer.from("3051020101300506032b657004220420", "hex");
  return Buffer.concat([head, seed, Buffer.from("812100", "hex"), publicKey]);
}

test("Ed25519 in PKCS#8 version 2, with its public key", async (t) => {
  const pair = generateKeyPairSync("ed25519");
  const seed = pair.privateKey.export({ format: "der", type: "pkcs8" }).subarray(-32);
  const publicKey = pair.publicKey.export({ format: "der", type: "spki" }).subarray(-32);
  const { key } = await readPrivateKeyFile(pem("PRIVATE KEY", versionTwo(seed, publicKey)), none);
  t.deepEqual(key.publicKey, { type: "ed25519", publicKey });
  t.deepEqual(key.secret, { type: "ed25519", seed });
  publicKey[0] = (publicKey[0] as number) ^ 1;
  const foreign = await problem(pem("PRIVATE KEY", versionTwo(seed, publicKey)));
  t.regex(foreign.explanation, /does not belong to its public key/);
});

test("unsupported curves are named", async (t) => {
  const workspace = makeWorkspace(t);
  for (const curve of ["secp256k1", "brainpoolP256r1", "brainpoolP512t1", "secp224r1"]) {
    const sec1 = await workspace.expect(openssl(), ["ecparam", "-name", curve, "-genkey"]);
    const path = workspace.write("sec1", sec1);
    const pkcs8 = await workspace.expect(openssl(), ["pkcs8", "-topk8", "-nocrypt", "-in", path]);
    for (const file of [sec1, pkcs8]) {
      const error = await problem(file);
      t.is(
        error.explanation,
        `ECDSA keys on the curve ${curve} are not supported: SSH has nistp256, nistp384 and nistp521.`,
      );
      t.is(error.message, "invalid format");
    }
  }
});

test("explicit curve parameters are accepted", async (t) => {
  const workspace = makeWorkspace(t);
  const args = ["ecparam", "-name", "prime256v1", "-genkey", "-param_enc", "explicit", "-noout"];
  const file = await workspace.expect(openssl(), args);
  const { key } = await readPrivateKeyFile(Buffer.from(file), none);
  t.like(key.publicKey, { type: "ecdsa", curve: "nistp256" });
});

test("unsupported key types are named", async (t) => {
  for (const type of ["x25519", "ed448"] as const) {
    const { privateKey } = generateKeyPairSync(type as "x25519");
    const error = await problem(Buffer.from(privateKey.export({ format: "pem", type: "pkcs8" })));
    t.is(error.explanation, `Keys of the type "${type}" are not supported.`);
  }
});

test("a short RSA key is refused", async (t) => {
  const workspace = makeWorkspace(t);
  const path = workspace.path("short");
  await workspace.expect(openssl(), ["genrsa", "-traditional", "-out", path, "1023"]);
  await workspace.expect("chmod", ["600", path]);
  const recorder = await startRecorder(t, workspace, () => ({ type: "failure" }));
  const { stderr } = await runOurs(workspace, ["short"]);
  t.is(
    stderr,
    'Error loading key "short": Invalid key length\nreason: An RSA key of 1023 bits is not accepted: it takes 1024 to 16384.\n',
  );
  t.deepEqual(recorder.requests, []);
});

test("an RSA key whose exponent exceeds its modulus is refused", async (t) => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 1024 });
  const jwk = privateKey.export({ format: "jwk" });
  const number = (value = "") => derInteger(Buffer.from(value, "base64url"));
  const { n, e, p, q, dp, dq, qi } = jwk;
  const order = [n, e, n, p, q, dp, dq, qi].map(number);
  const file = pem("RSA PRIVATE KEY", derSequence([derInteger(Buffer.of(0)), ...order]));
  t.is((await problem(file)).explanation, "The values of this RSA key do not match each other.");
});

test("DSA in PKCS#8, whose public key is computed", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await makeKey(workspace, "dsa", { type: "dsa", more: ["-m", "PEM"] });
  const args = ["pkcs8", "-topk8", "-nocrypt", "-in", path];
  const file = Buffer.from(await workspace.expect(openssl(), args));
  const { key } = await readPrivateKeyFile(file, none);
  t.deepEqual(encodePublicKey(key.publicKey), loadPublicKey(`${path}.pub`).blob);
});

test("PKCS#8 with each encryption of openssl", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await makeKey(workspace, "key", { type: "ecdsa", more: ["-m", "PKCS8"] });
  const { blob } = loadPublicKey(`${path}.pub`);
  const ways = [
    ["-scrypt", "-scrypt_N", "8192"],
    ["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1", "-iter", "3"],
    ["-v2", "aes-192-cbc", "-v2prf", "hmacWithSHA512"],
    ["-v2", "camellia-256-cbc"],
    ["-v2", "aria-128-cbc"],
    ["-v1", "PBE-SHA1-2DES"],
  ];
  for (const way of ways) {
    const args = ["pkcs8", "-topk8", ...way, "-in", path, "-passout", "pass:p\u00e4ss"];
    const file = Buffer.from(await workspace.expect(openssl(), args));
    const { key } = await readPrivateKeyFile(file, Buffer.from("päss"));
    t.deepEqual(encodePublicKey(key.publicKey), blob, way.join(" "));
    t.true((await problem(file)).needsPassphrase);
    t.true((await problem(file, Buffer.from("other"))).needsPassphrase);
  }
});
