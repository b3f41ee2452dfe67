/** PuTTY's private key files, with puttygen. */

import { readFileSync } from "node:fs";
import test from "ava";
import fc from "fast-check";
import { puttygen } from "../../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { type PrivateKey, wipePrivateKey, writePrivateKey } from "../../protocol/private-key.ts";
import { Writer } from "../../protocol/wire.ts";
import { certify, makeKey, runOurs, runSystem, startSystemAgent } from "../test-agent.ts";
import { KeyFileError } from "./loaded-key.ts";
import { readPrivateKeyFile } from "./private-key-file.ts";
import { loadPublicKey } from "./public-key-file.ts";
import { problem } from "./test-files.ts";

const none = Buffer.alloc(0);

interface PuttyOptions {
  passphrase?: string;
  /** For `--ppk-param`; one pass by default. */
  parameters?: string;
  comment?: string;
  more?: string[];
}

/** Converts a key of ssh-keygen to FILE.ppk with puttygen. @returns its path */
async function convert(workspace: Workspace, key: string, options: PuttyOptions = {}) {
  const { passphrase = "", parameters = "version=3,passes=1", comment = "a cömment" } = options;
  workspace.write("passphrase", passphrase);
  const path = `${key}.ppk`;
  const args = [key, "-O", "private", "-o", path, "--ppk-param", parameters, "-C", comment];
  const secret = ["--new-passphrase", workspace.path("passphrase")];
  await workspace.expect(puttygen(), [...args, ...secret, ...(options.more ?? [])]);
  return path;
}

/** A key with its secret fields, as it is sent to an agent. */
function bytesOf(key: PrivateKey): string {
  const writer = new Writer();
  writePrivateKey(writer, key);
  wipePrivateKey(key);
  return writer.finish().toString("hex");
}

const kinds = [
  { type: "rsa", bits: 2048 },
  { type: "dsa", bits: 1024 },
  { type: "ecdsa", bits: 256 },
  { type: "ecdsa", bits: 384 },
  { type: "ecdsa", bits: 521 },
  { type: "ed25519", bits: 256 },
] as const;

for (const { type, bits } of kinds) {
  test(`${type} with ${bits} bits, in both versions, plain and encrypted`, async (t) => {
    const workspace = makeWorkspace(t);
    const path = await makeKey(workspace, "key", { type, bits });
    const original = await readPrivateKeyFile(readFileSync(path), none);
    const expected = bytesOf(original.key);
    for (const version of [2, 3]) {
      for (const passphrase of ["", "pässwort"]) {
        const parameters = `version=${version},passes=1`;
        const ppk = readFileSync(await convert(workspace, path, { passphrase, parameters }));
        t.true(ppk.toString().startsWith(`PuTTY-User-Key-File-${version}: `));
        const { key, comment } = await readPrivateKeyFile(ppk, Buffer.from(passphrase));
        t.is(bytesOf(key), expected);
        t.is(comment, "a cömment");
      }
    }
  });
}

for (const kdf of ["argon2id", "argon2i", "argon2d"]) {
  test(`passphrases with ${kdf}`, async (t) => {
    const workspace = makeWorkspace(t);
    const path = await makeKey(workspace, "key");
    const parameters = `version=3,kdf=${kdf},memory=1024,passes=3,parallelism=2`;
    const ppk = readFileSync(await convert(workspace, path, { passphrase: "sesame", parameters }));
    t.regex(ppk.toString(), new RegExp(`^Key-Derivation: ${kdf}$`, "im"));
    const { key } = await readPrivateKeyFile(ppk, Buffer.from("sesame"));
    t.is(bytesOf(key), bytesOf((await readPrivateKeyFile(readFileSync(path), none)).key));
    t.like(await problem(ppk, ""), { needsPassphrase: true });
    t.like(await problem(ppk, "sesam"), { needsPassphrase: true });
  });
}

test("a file with puttygen's defaults", async (t) => {
  const workspace = makeWorkspace(t);
  workspace.write("passphrase", "sesame");
  const secret = ["--new-passphrase", workspace.path("passphrase")];
  for (const type of ["ed25519", "ecdsa", "rsa"]) {
    const path = workspace.path(`${type}.ppk`);
    await workspace.expect(puttygen(), ["-q", "-t", type, "-o", path, ...secret]);
    const line = await workspace.expect(puttygen(), ["-O", "public-openssh", path]);
    const { key } = await readPrivateKeyFile(readFileSync(path), Buffer.from("sesame"));
    t.is(key.secret.type, key.publicKey.type);
    t.is(line.split(" ")[1], loadPublicKey(path).blob.toString("base64"));
  }
});

test("a wrong passphrase differs from a damaged file", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await makeKey(workspace, "key");
  for (const version of [2, 3]) {
    const parameters = `version=${version},passes=1,memory=64`;
    const locked = readFileSync(
      await convert(workspace, path, { passphrase: "sesame", parameters }),
    );
    t.like(await problem(locked, "other"), { needsPassphrase: true });
    const plain = readFileSync(await convert(workspace, path, { parameters }), "latin1");
    const damaged = plain.replace(/(Private-MAC: )(.)/, (_all, name, digit) =>
      digit === "0" ? `${name}1` : `${name}0`,
    );
    t.like(await problem(Buffer.from(damaged, "latin1"), ""), {
      needsPassphrase: false,
      explanation: "The file is damaged.",
    });
  }
});

test("a damaged file is refused, whichever byte it is", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await makeKey(workspace, "key");
  for (const version of [2, 3]) {
    const parameters = `version=${version},passes=1`;
    const file = readFileSync(await convert(workspace, path, { parameters }));
    const expected = bytesOf((await readPrivateKeyFile(file, none)).key);
    await fc.assert(
      fc.asyncProperty(
        fc.nat(file.length - 1),
        fc.integer({ min: 1, max: 255 }),
        async (at, change) => {
          const damaged = Buffer.from(file);
          damaged[at] = (damaged[at] as number) ^ change;
          try {
            // Hexadecimal case, white space and unused lines may change.
            t.is(bytesOf((await readPrivateKeyFile(damaged, none)).key), expected);
          } catch (error) {
            t.true(error instanceof KeyFileError);
          }
        },
      ),
    );
  }
});

test("line ends of other systems", async (t) => {
  const workspace = makeWorkspace(t);
  const file = readFileSync(await convert(workspace, await makeKey(workspace, "key")), "latin1");
  for (const end of ["\r\n", "\r"]) {
    const other = Buffer.from(file.replaceAll("\n", end), "latin1");
    t.is((await readPrivateKeyFile(other, none)).comment, "a cömment");
  }
});

test("unsupported features are named", async (t) => {
  const workspace = makeWorkspace(t);
  const path = workspace.path("other.ppk");
  workspace.write("passphrase", "");
  const secret = ["--new-passphrase", workspace.path("passphrase")];
  await workspace.expect(puttygen(), ["-q", "-t", "ed448", "-o", path, ...secret]);
  const file = readFileSync(path);
  t.is((await problem(file, "")).explanation, 'Keys of the type "ssh-ed448" are not supported.');
  const change = (from: string, to: string) => Buffer.from(file.toString().replace(from, to));
  t.regex((await problem(change("-3:", "-4:"), "")).explanation, /version 4/);
  t.regex((await problem(change(": none", ": rot13"), "x")).explanation, /"rot13"/);
  t.like(await problem(change(": none", ": aes256-cbc"), "x"), { needsPassphrase: false });
});

test("ssh-add asks for the passphrase, adds, tests and removes such keys", async (t) => {
  const workspace = makeWorkspace(t);
  await startSystemAgent(workspace);
  const key = await makeKey(workspace, "id");
  await convert(workspace, key, { passphrase: "sesame", parameters: "version=3,passes=1" });
  const added = await runOurs(workspace, ["id.ppk"], { input: "sesam\nsesame\n" });
  t.is(added.status, 0);
  t.regex(added.stderr, /Bad passphrase, try again for id\.ppk: /);
  t.regex(added.stderr, /Identity added: id\.ppk \(a cömment\)\n$/);
  t.is((await runSystem(workspace, ["-T", "id.pub"])).status, 0);
  t.is((await runOurs(workspace, ["-T", "id.ppk"])).status, 0);
  const removed = await runOurs(workspace, ["-d", "id.ppk"]);
  t.is(removed.stderr, "Identity removed: id.ppk ED25519 (a cömment)\n");
  t.is((await runSystem(workspace, ["-l"])).stdout, "The agent has no identities.\n");
});

test("a certificate in a PuTTY file is added", async (t) => {
  const workspace = makeWorkspace(t);
  await startSystemAgent(workspace);
  const key = await makeKey(workspace, "id");
  const certificate = await certify(workspace, await makeKey(workspace, "ca"), key);
  await convert(workspace, key, { more: ["--certificate", certificate] });
  t.is((await runOurs(workspace, ["id.ppk"])).status, 0);
  t.regex(
    (await runSystem(workspace, ["-l"])).stdout,
    /^256 SHA256:\S+ a cömment \(ED25519-CERT\)\n$/,
  );
});
