/** Key files reformatted by editors, mail and shell variables. */

import { readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { openssl } from "../../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { type PrivateKey, writePrivateKey } from "../../protocol/private-key.ts";
import { Writer } from "../../protocol/wire.ts";
import { type KeyOptions, makeKey, runOurs, startRecorder } from "../test-agent.ts";
import { readPrivateKeyFile } from "./private-key-file.ts";
import { problem } from "./test-files.ts";

const changes: Record<string, (text: string) => string> = {
  "spaces at line ends": (text) => text.replaceAll("\n", " \t\n"),
  "spaces at line starts": (text) => text.replaceAll(/^/gm, "   "),
  "CR for LF": (text) => text.replaceAll("\n", "\r"),
  "CR LF": (text) => text.replaceAll("\n", "\r\n"),
  "spaces for newlines": (text) => text.replaceAll("\n", " "),
  "empty lines between": (text) => text.replaceAll("\n", "\n\n"),
  "double quotes": (text) => `"${text.trim()}"\n`,
  "single quotes around each line": (text) => text.replaceAll(/^(.+)$/gm, "'$1'"),
  "literal \\n": (text) => text.replaceAll("\n", "\\n"),
  "literal \\r\\n within quotes": (text) => `"${text.replaceAll("\n", "\\r\\n")}"`,
  "a BOM": (text) => `\ufeff${text}`,
  "no-break spaces": (text) => text.replaceAll(/^/gm, "\u00a0"),
  "spaces in the label": (text) => text.replaceAll(" PRIVATE KEY-----", "  PRIVATE KEY -----"),
};

const oneLine = (text: string) =>
  text.replace(/-----\n.*\n-----/s, (body) => body.replaceAll("\n", ""));

const forms: readonly { name: string; options: KeyOptions }[] = [
  { name: "openssh-key-v1", options: {} },
  { name: "PKCS#8", options: { type: "ecdsa", more: ["-m", "PKCS8"] } },
  { name: "PKCS#1", options: { type: "rsa", more: ["-m", "PEM"] } },
  { name: "SEC 1", options: { type: "ecdsa", bits: 521, more: ["-m", "PEM"] } },
];

function bytesOf(key: PrivateKey): string {
  const writer = new Writer();
  writePrivateKey(writer, key);
  return writer.finish().toString("hex");
}

async function read(file: string | Buffer, passphrase: string): Promise<string> {
  const { key } = await readPrivateKeyFile(Buffer.from(file), Buffer.from(passphrase));
  return bytesOf(key);
}

for (const { name, options } of forms) {
  test(`reformatted files are read like the originals: ${name}`, async (t) => {
    const workspace = makeWorkspace(t);
    for (const passphrase of ["", "sesame"]) {
      const path = await makeKey(workspace, `key${passphrase}`, { ...options, passphrase });
      const text = readFileSync(path, "utf8");
      const expected = await read(text, passphrase);
      const all = { ...changes, "one long line": oneLine };
      for (const [change, apply] of Object.entries(all)) {
        t.is(await read(apply(text), passphrase), expected, change);
        if (passphrase === "") continue;
        t.true((await problem(apply(text))).needsPassphrase, change);
        t.true((await problem(apply(text), "other")).needsPassphrase, change);
      }
    }
  });
}

test("several changes at once", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await makeKey(workspace, "key", { passphrase: "sesame" });
  const text = readFileSync(path, "utf8");
  const expected = await read(text, "sesame");
  await fc.assert(
    fc.asyncProperty(fc.subarray(Object.values(changes)), async (some) => {
      t.is(
        await read(
          some.reduce((reformatted, change) => change(reformatted), text),
          "sesame",
        ),
        expected,
      );
    }),
    { numRuns: 8 },
  );
});

/** Asserts that a file is damaged, without a passphrase. */
async function assertDamaged(t: ExecutionContext, file: Buffer | string, what: string) {
  const error = await problem(file);
  t.false(error.needsPassphrase, what);
  t.regex(error.explanation, /damaged|end is missing|not supported/, what);
}

/** Copies of a text, each without one character of base64 in another line. */
function withoutCharacter(text: string): string[] {
  const lines = text.trim().split("\n");
  const within = lines.flatMap((line, index) => (/^[\w+/=]+$/.test(line) ? [index] : []));
  return within.map((index) =>
    lines.map((line, at) => (at === index ? line.slice(1) : line)).join("\n"),
  );
}

test("a damaged file is reported before the passphrase is asked for", async (t) => {
  const workspace = makeWorkspace(t);
  for (const { name, options } of forms) {
    const path = await makeKey(workspace, name, { ...options, passphrase: "sesame" });
    const text = readFileSync(path, "utf8");
    for (const damaged of withoutCharacter(text)) await assertDamaged(t, damaged, name);
    // Traditional PEM has no length outside the encryption, and a line is whole blocks.
    if (!text.includes("DEK-Info")) {
      await assertDamaged(t, text.replace(/^[\w+/]{20,}\n/m, ""), `${name} without a line`);
    }
    await assertDamaged(t, text.slice(0, -60), `${name} without its end`);
    await assertDamaged(
      t,
      text.replace(/\n(?=\S+\n-----END)/, "\n*"),
      `${name} with an invalid byte`,
    );
  }
});

test("an incomplete container is recognized, whatever the cipher", async (t) => {
  const workspace = makeWorkspace(t);
  for (const cipher of ["3des-cbc", "aes256-ctr", "aes256-gcm@openssh.com"]) {
    const more = ["-Z", cipher];
    const path = await makeKey(workspace, cipher, { passphrase: "sesame", more });
    const bytes = bodyOf(readFileSync(path, "utf8"));
    for (const length of [bytes.length - 1, bytes.length - 16, 60, 20]) {
      await assertDamaged(t, armour(bytes.subarray(0, length)), cipher);
    }
    await assertDamaged(t, armour(Buffer.concat([bytes, Buffer.alloc(8)])), cipher);
  }
});

const label = "OPENSSH PRIVATE KEY";

function armour(bytes: Buffer): string {
  return `-----BEGIN ${label}-----\n${bytes.toString("base64")}\n-----END ${label}-----\n`;
}

function bodyOf(text: string): Buffer {
  return Buffer.from(text.trim().split("\n").slice(1, -1).join(""), "base64");
}

test("the right passphrase for a damaged private part reports damage", async (t) => {
  const workspace = makeWorkspace(t);
  const ciphers = ["aes256-ctr", "aes256-cbc", "aes256-gcm@openssh.com"];
  for (const cipher of [...ciphers, "chacha20-poly1305@openssh.com"]) {
    const more = ["-Z", cipher];
    const path = await makeKey(workspace, cipher, { passphrase: "sesame", more });
    const bytes = bodyOf(readFileSync(path, "utf8"));
    // In the private part, after the checkints.
    const at = bytes.length - 70;
    bytes[at] = (bytes[at] as number) ^ 1;
    const error = await problem(armour(bytes), "sesame");
    t.false(error.needsPassphrase);
    t.regex(error.explanation, /damaged|does not belong to its public key/);
    t.true((await problem(armour(bytes), "other")).needsPassphrase);
  }
});

test("the right passphrase for damaged encrypted PEM reports damage", async (t) => {
  const workspace = makeWorkspace(t);
  for (const form of ["PEM", "PKCS8"]) {
    const more = ["-m", form];
    const path = await makeKey(workspace, form, { type: "rsa", passphrase: "sesame", more });
    const lines = readFileSync(path, "utf8").trim().split("\n");
    // 64 characters are 48 bytes, three whole blocks: detected only after decryption.
    const inner = lines.findIndex((line, at) => at > 10 && /^[\w+/]{64}$/.test(line));
    if (form === "PEM") lines.splice(inner, 1);
    else lines[inner] = (lines[inner] as string).replace(/./g, (c) => (c === "A" ? "B" : "A"));
    const damaged = lines.join("\n");
    t.true((await problem(damaged)).needsPassphrase, form);
    t.true((await problem(damaged, "other")).needsPassphrase, form);
    const error = await problem(damaged, "sesame").catch(() => undefined);
    // A changed number in an RSA key is detected only by the agent.
    if (form === "PEM") t.is(error?.explanation, "The file is damaged.");
  }
});

async function damagedInside(workspace: Workspace): Promise<string> {
  const path = await makeKey(workspace, "key", { passphrase: "sesame" });
  const bytes = bodyOf(readFileSync(path, "utf8"));
  return armour(bytes.subarray(0, -16));
}

test("ssh-add asks no passphrase for a damaged file, and one for a reformatted one", async (t) => {
  const workspace = makeWorkspace(t);
  await startRecorder(t, workspace, () => ({ type: "success" }));
  const askpass = workspace.write("askpass", '#!/bin/sh\necho "$1" >>asked\necho sesame\n', 0o700);
  const env = { DISPLAY: ":0", SSH_ASKPASS: askpass };
  workspace.write("damaged", await damagedInside(workspace), 0o600);
  const damaged = await runOurs(workspace, ["damaged"], { env });
  t.is(
    damaged.stderr,
    'Error loading key "damaged": invalid format\nreason: The file is damaged.\n',
  );
  t.throws(() => readFileSync(workspace.path("asked")), { code: "ENOENT" });
  const text = readFileSync(workspace.path("key"), "utf8");
  workspace.write("reformatted", text.replaceAll("\n", " "), 0o600);
  const reformatted = await runOurs(workspace, ["reformatted"], { env });
  t.is(reformatted.stderr, "Identity added: reformatted (comment of key)\n");
  t.is(readFileSync(workspace.path("asked"), "utf8"), "Enter passphrase for reformatted: \n");
});

test("a million BEGIN lines are read in linear time", async (t) => {
  for (const line of ["-----BEGIN\n", "-----BEGIN \n", "-----BEGIN A PRIVATE KEY-----\n"]) {
    const error = await problem(line.repeat(1_000_000));
    t.is(error.message, "invalid format");
  }
});

test("a key between other PEM blocks is found", async (t) => {
  const workspace = makeWorkspace(t);
  const path = workspace.path("key");
  await workspace.expect(openssl(), ["ecparam", "-name", "prime256v1", "-genkey", "-out", path]);
  const text = readFileSync(path, "utf8");
  const expected = await read(text, "");
  t.is(await read(`-----BEGIN\n-----BEGIN X-----\n${text.replaceAll("\n", " ")}`, ""), expected);
});
