import { generateKeyPairSync } from "node:crypto";
import { readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { openssl, ssh, sshKeygen } from "../../fixtures/system-programs.ts";
import {
  compositeBlob,
  compositeFile,
  compositePassphrase,
} from "../../fixtures/vectors/mldsa44-ed25519.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { type KeyOptions, makeKey } from "../test-agent.ts";
import { KeyFileError, type LoadedKey } from "./loaded-key.ts";
import { readPrivateKeyFile } from "./private-key-file.ts";
import { loadPublicKey } from "./public-key-file.ts";
import { problem } from "./test-files.ts";

const none = Buffer.alloc(0);

/** Creates a key file with ssh-keygen and reads it. */
async function roundTrip(t: ExecutionContext, options: KeyOptions): Promise<LoadedKey> {
  const workspace = makeWorkspace(t);
  const path = await makeKey(workspace, "key", options);
  const loaded = await readPrivateKeyFile(
    readFileSync(path),
    Buffer.from(options.passphrase ?? ""),
  );
  t.deepEqual(encodePublicKey(loaded.key.publicKey), loadPublicKey(`${path}.pub`).blob);
  return loaded;
}

const types = ["ed25519", "ecdsa", "rsa"] as const;
for (const type of types) {
  test(`a key file of ssh-keygen: ${type}`, async (t) => {
    for (const passphrase of ["", "pässwort"]) {
      const { key, comment } = await roundTrip(t, { type, comment: "é comment", passphrase });
      t.is(comment, "é comment");
      t.is(key.secret.type, key.publicKey.type);
    }
  });
}

test("a post-quantum key file of OpenSSH 10.5, plain and encrypted", async (t) => {
  const encrypted = [compositePassphrase, "key-encrypted", "encrypted"] as const;
  for (const [passphrase, name, comment] of [["", "key", "pq key"] as const, encrypted]) {
    const file = compositeFile(name);
    const loaded = await readPrivateKeyFile(file, Buffer.from(passphrase));
    t.is(loaded.comment, comment);
    t.deepEqual(encodePublicKey(loaded.key.publicKey), compositeBlob(name));
  }
  t.true((await problem(compositeFile("key-encrypted"))).needsPassphrase);
  t.true((await problem(compositeFile("key-encrypted"), "vectors")).needsPassphrase);
});

test("a post-quantum key file whose seeds are not those of its public key", async (t) => {
  const [head = "", ...lines] = compositeFile("key").toString().trim().split("\n");
  const end = lines.pop() ?? "";
  const bytes = Buffer.from(lines.join(""), "base64");
  const { key } = await readPrivateKeyFile(compositeFile("key"), none);
  if (key.secret.type !== "mldsa44-ed25519") return t.fail();
  for (const seed of [key.secret.mlDsaSeed, key.secret.ed25519Seed]) {
    const changed = Buffer.from(bytes);
    const at = bytes.indexOf(seed);
    changed[at] = (changed[at] as number) ^ 1;
    const { explanation } = await problem([head, changed.toString("base64"), end, ""].join("\n"));
    t.is(explanation, "The file's private key does not belong to its public key.");
  }
});

test("all curves", async (t) => {
  for (const bits of [256, 384, 521]) {
    const { key } = await roundTrip(t, { type: "ecdsa", bits });
    t.like(key.publicKey, { type: "ecdsa", curve: `nistp${bits}` });
  }
});

const ciphers = [
  "3des-cbc",
  "aes128-cbc",
  "aes192-cbc",
  "aes256-cbc",
  "aes128-ctr",
  "aes192-ctr",
  "aes256-ctr",
  "aes128-gcm@openssh.com",
  "aes256-gcm@openssh.com",
  "chacha20-poly1305@openssh.com",
];
test("the list of ciphers is that of ssh-keygen -Z", async (t) => {
  const known = await makeWorkspace(t).expect(ssh(), ["-Q", "cipher"]);
  t.deepEqual(known.trim().split("\n").sort(), [...ciphers].sort());
});

for (const [index, cipher] of ciphers.entries()) {
  test(`OpenSSH's format with ${cipher}`, async (t) => {
    const workspace = makeWorkspace(t);
    const type = types[index % types.length] ?? "ed25519";
    const more = ["-Z", cipher];
    const path = await makeKey(workspace, "key", { type, passphrase: "sesame", more });
    const file = readFileSync(path);
    const { key, comment } = await readPrivateKeyFile(file, Buffer.from("sesame"));
    t.deepEqual(encodePublicKey(key.publicKey), loadPublicKey(`${path}.pub`).blob);
    t.is(comment, "comment of key");
    t.true((await problem(file)).needsPassphrase);
    t.true((await problem(file, Buffer.from("sesam"))).needsPassphrase);
  });
}

for (const more of [
  ["-m", "PEM"],
  ["-m", "PKCS8"],
]) {
  test(`ssh-keygen ${more.join(" ")}`, async (t) => {
    for (const type of ["rsa", "ecdsa"] as const) {
      for (const passphrase of ["", "sesame"]) {
        const { comment } = await roundTrip(t, { type, passphrase, more });
        t.is(comment, "");
      }
    }
  });
}

test("encrypted PEM needs the right passphrase", async (t) => {
  const workspace = makeWorkspace(t);
  for (const form of ["PEM", "PKCS8"]) {
    const options = { type: "rsa", passphrase: "sesame", more: ["-m", form] } as const;
    const file = readFileSync(
      await makeKey(workspace, form, { ...options, more: [...options.more] }),
    );
    t.true((await problem(file)).needsPassphrase);
    t.true((await problem(file, Buffer.from("other"))).needsPassphrase);
  }
});

test("PEM with each cipher of openssl", async (t) => {
  const workspace = makeWorkspace(t);
  const plain = await makeKey(workspace, "key", { type: "rsa", more: ["-m", "PEM"] });
  const { blob } = loadPublicKey(`${plain}.pub`);
  const make = async (...args: string[]) =>
    Buffer.from(await workspace.expect(openssl(), [...args, "-in", plain, "-passout", "pass:x"]));
  const files = [
    await make("pkcs8", "-topk8", "-scrypt"),
    await make("pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"),
    await make("pkcs8", "-topk8", "-v2", "des3"),
    await make("rsa", "-traditional", "-des3"),
    await make("rsa", "-traditional", "-aes192"),
  ];
  for (const file of files) {
    const { key } = await readPrivateKeyFile(file, Buffer.from("x"));
    t.deepEqual(encodePublicKey(key.publicKey), blob);
    t.true((await problem(file, Buffer.from("y"))).needsPassphrase);
  }
  const legacy = ["-provider", "legacy", "-provider", "default"];
  const old = await make("pkcs8", "-topk8", "-v1", "PBE-SHA1-RC2-40", ...legacy);
  t.regex((await problem(old, Buffer.from("x"))).explanation, /cipher that is not supported/);
});

test("SEC 1 of openssl: with parameters, without the point, compressed", async (t) => {
  const workspace = makeWorkspace(t);
  const path = workspace.path("whole");
  await workspace.expect(openssl(), ["ecparam", "-name", "secp384r1", "-genkey", "-out", path]);
  const whole = readFileSync(path);
  t.true(whole.toString().startsWith("-----BEGIN EC PARAMETERS-----"));
  const expected = await readPrivateKeyFile(whole, none);
  const forms = [["-no_public"], ["-conv_form", "compressed"]];
  for (const form of forms) {
    const file = await workspace.expect(openssl(), ["ec", "-in", path, ...form]);
    t.deepEqual(await readPrivateKeyFile(Buffer.from(file), none), expected, form.join(" "));
  }
  await workspace.expect("chmod", ["600", path]);
  const line = await workspace.expect(sshKeygen(), ["-y", "-f", path]);
  t.is(line.trim().split(" ")[1], encodePublicKey(expected.key.publicKey).toString("base64"));
});

test("Ed25519 in PKCS#8 of openssl", async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const pem = privateKey.export({ format: "pem", type: "pkcs8" });
  const { key } = await readPrivateKeyFile(Buffer.from(pem), none);
  const raw = Buffer.from(String(publicKey.export({ format: "jwk" }).x), "base64url");
  t.deepEqual(key.publicKey, { type: "ed25519", publicKey: raw });
});

test("keys without an SSH algorithm are refused by type", async (t) => {
  const x25519 = generateKeyPairSync("x25519").privateKey;
  const pem = x25519.export({ format: "pem", type: "pkcs8" });
  t.like(await problem(Buffer.from(pem)), { message: "invalid format", needsPassphrase: false });
  const secp256k1 = generateKeyPairSync("ec", { namedCurve: "secp256k1" }).privateKey;
  const other = secp256k1.export({ format: "pem", type: "sec1" });
  t.regex((await problem(Buffer.from(other))).explanation, /not supported/);
});

test("files that are not private keys are described", async (t) => {
  const explanations: [string | Buffer, RegExp][] = [
    ["", /empty/],
    ["ssh-ed25519 AAAAC3Nza comment\n", /public key/],
    ["ssh-ed25519-cert-v01@openssh.com AAAAIHNza comment\n", /certificate/],
    ["PuTTY-User-Key-File-1: ssh-rsa\n", /version 1.*puttygen/],
    ["PuTTY-User-Key-File-3: ssh-ed25519\n", /damaged/],
    [
      "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
      /certificate, not a private/,
    ],
    ["-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n", /damaged/],
    ["-----BEGIN OPENSSH PRIVATE KEY-----\n!\n-----END OPENSSH PRIVATE KEY-----\n", /damaged/],
    ["-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", /damaged/],
    ["-----BEGIN RSA PRIVATE KEY-----\n", /end is missing/],
    ["-----BEGIN EC PARAMETERS-----\nAA==\n-----END EC PARAMETERS-----\n", /parameters of a curve/],
    ["---- BEGIN SSH2 PUBLIC KEY ----\n", /public key/],
    ["---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\n", /ssh\.com.*puttygen/],
    ["SSH PRIVATE KEY FILE FORMAT 1.1\n", /protocol 1/],
    ["# made today\nAGE-SECRET-KEY-1AAAA\n", /key of age/],
    ['{ "kty": "EC" }', /JSON Web Key/],
    ["\x7fELF\x02", /ssh-add -s/],
    [Buffer.from("\ufeff-----BEGIN", "utf16le"), /UTF-16/],
    ["# mine\nhost.example ssh-ed25519 AAAAC3Nza\n", /list of public keys/],
    ['command="x" ssh-rsa AAAAB3Nza me\n', /list of public keys/],
    ["garbage", /not a private key/],
  ];
  for (const [file, explanation] of explanations) {
    const error = await problem(file);
    t.is(error.message, "invalid format");
    t.regex(error.explanation, explanation, file.toString());
    t.false(error.needsPassphrase);
  }
});

test("files in DER are described", async (t) => {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  for (const type of ["sec1", "pkcs8"] as const) {
    const error = await problem(privateKey.export({ format: "der", type }));
    t.regex(error.explanation, /private key in DER; convert it with: openssl pkey -inform DER/);
  }
  const spki = publicKey.export({ format: "der", type: "spki" });
  t.regex((await problem(spki)).explanation, /certificate or a key in DER/);
  const pkcs12 = Buffer.from("30060201033001aa", "hex");
  t.regex((await problem(pkcs12)).explanation, /openssl pkcs12/);
  t.regex((await problem(pkcs12.subarray(0, 5))).explanation, /not a private key/);
});

test("a damaged file is refused, whichever byte it is", async (t) => {
  const workspace = makeWorkspace(t);
  const file = readFileSync(await makeKey(workspace, "key"));
  const armoured = file.toString().split("\n");
  const bytes = Buffer.from(armoured.slice(1, -2).join(""), "base64");
  await fc.assert(
    fc.asyncProperty(
      fc.nat(bytes.length - 1),
      fc.integer({ min: 1, max: 255 }),
      async (at, change) => {
        const damaged = Buffer.from(bytes);
        damaged[at] = (damaged[at] as number) ^ change;
        const text = [armoured[0], damaged.toString("base64"), armoured.at(-2), ""].join("\n");
        try {
          // Only a change of the comment goes unnoticed.
          const { key } = await readPrivateKeyFile(Buffer.from(text), none);
          t.deepEqual(
            encodePublicKey(key.publicKey),
            loadPublicKey(workspace.path("key.pub")).blob,
          );
        } catch (error) {
          t.true(error instanceof KeyFileError);
        }
      },
    ),
  );
});

test("carriage returns and text around the armour are ignored", async (t) => {
  const workspace = makeWorkspace(t);
  const file = readFileSync(await makeKey(workspace, "key"), "utf8");
  const { comment } = await readPrivateKeyFile(
    Buffer.from(`\r\n${file.replaceAll("\n", "\r\n")}\r\n`),
    none,
  );
  t.is(comment, "comment of key");
});
