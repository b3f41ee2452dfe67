/** Limits on the time and memory of key derivation. */
import { readFileSync } from "node:fs";
import test from "ava";
import { sshAdd } from "../../fixtures/programs.ts";
import { openssl, puttygen } from "../../fixtures/system-programs.ts";
import { startTerminal } from "../../fixtures/terminal.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { derInteger, derSequence, derTagged } from "../../protocol/der.ts";
import { makeKey, runOurs, startRecorder } from "../test-agent.ts";
import { derive } from "./key-derivation.ts";
import { KeyFileError } from "./loaded-key.ts";
import { runTask } from "./passphrase-task.ts";
import { readPrivateKeyFile } from "./private-key-file.ts";

const none = Buffer.alloc(0);

async function explanation(file: Buffer | string): Promise<string> {
  try {
    await readPrivateKeyFile(Buffer.from(file), none);
  } catch (error) {
    if (error instanceof KeyFileError && !error.needsPassphrase) return error.explanation;
    return "It asks for a passphrase.";
  }
  throw new Error("It was read.");
}

const tooLong = "The file's key derivation would take more than ten minutes.";

function pem(label: string, der: Buffer): string {
  return `-----BEGIN ${label}-----\n${der.toString("base64")}\n-----END ${label}-----\n`;
}

/** A file of ssh-keygen with another number of rounds. */
async function withRounds(workspace: Workspace, rounds: number): Promise<string> {
  const path = await makeKey(workspace, "key", { passphrase: "sesame" });
  const lines = readFileSync(path, "utf8").trim().split("\n");
  const bytes = Buffer.from(lines.slice(1, -1).join(""), "base64");
  const salt = bytes.indexOf("bcrypt") + "bcrypt".length + 4;
  bytes.writeUInt32BE(rounds, salt + 4 + bytes.readUInt32BE(salt));
  return pem("OPENSSH PRIVATE KEY", bytes);
}

const number = (value: number) => {
  const bytes = Buffer.alloc(6);
  bytes.writeUIntBE(value, 0, 6);
  return derInteger(bytes);
};
const octets = (bytes: Buffer) => derTagged(0x04, bytes);
const oid = (hex: string) => derTagged(0x06, Buffer.from(hex, "hex"));

/** EncryptedPrivateKeyInfo with PBES2, this key derivation and AES-256-CBC. */
function pbes2(derivation: string, parameters: Buffer[]): string {
  const kdf = derSequence([oid(derivation), derSequence([octets(Buffer.alloc(8)), ...parameters])]);
  const cipher = derSequence([oid("60864801650304012a"), octets(Buffer.alloc(16))]);
  const algorithm = derSequence([oid("2a864886f70d01050d"), derSequence([kdf, cipher])]);
  return pem("ENCRYPTED PRIVATE KEY", derSequence([algorithm, octets(Buffer.alloc(48))]));
}

const pbkdf2 = (iterations: number) => pbes2("2a864886f70d01050c", [number(iterations)]);
const scrypt = (n: number, r: number, p: number) =>
  pbes2("2b06010401da47040b", [n, r, p].map(number));

test("bcrypt rounds are limited", async (t) => {
  const workspace = makeWorkspace(t);
  t.is(await explanation(await withRounds(workspace, 0xffff_ffff)), tooLong);
  const few = await withRounds(makeWorkspace(t), 20_000);
  t.is(await explanation(few), "It asks for a passphrase.");
  t.is(await explanation(await withRounds(makeWorkspace(t), 0)), "The file is damaged.");
});

test("PBKDF2 iterations are limited", async (t) => {
  for (const iterations of [2 ** 31 - 1, 2 ** 40]) {
    t.is(await explanation(pbkdf2(iterations)), tooLong);
  }
  t.is(await explanation(pbkdf2(10_000_000)), "It asks for a passphrase.");
  t.is(await explanation(pbkdf2(0)), "The file is damaged.");
});

test("scrypt memory and time are limited", async (t) => {
  t.is(
    await explanation(scrypt(2 ** 21, 8, 1)),
    "The file's key derivation needs 3 GiB of memory; the limit is 1 GiB.",
  );
  t.is(await explanation(scrypt(2 ** 17, 8, 100_000)), tooLong);
  t.is(await explanation(scrypt(2 ** 17, 8, 1)), "It asks for a passphrase.");
  t.is(await explanation(scrypt(1000, 8, 1)), "The file is damaged.");
});

test("PKCS#12 iterations are limited", async (t) => {
  const parameters = derSequence([octets(Buffer.alloc(8)), number(2 ** 31 - 1)]);
  const algorithm = derSequence([oid("2a864886f70d010c0103"), parameters]);
  const der = derSequence([algorithm, octets(Buffer.alloc(48))]);
  t.is(await explanation(pem("ENCRYPTED PRIVATE KEY", der)), tooLong);
});

test("Argon2 memory and passes are limited", async (t) => {
  const workspace = makeWorkspace(t);
  const key = await makeKey(workspace, "key");
  workspace.write("passphrase", "sesame");
  const args = [key, "-O", "private", "-o", "key.ppk", "--ppk-param", "memory=64,passes=1"];
  await workspace.expect(puttygen(), [...args, "--new-passphrase", "passphrase"]);
  const file = readFileSync(workspace.path("key.ppk"), "latin1");
  const change = (name: string, value: number) =>
    file.replace(new RegExp(`Argon2-${name}: \\d+`), `Argon2-${name}: ${value}`);
  t.is(await explanation(file), "It asks for a passphrase.");
  t.regex(await explanation(change("Memory", 2 ** 20 + 1)), /needs 2 GiB of memory/);
  t.is(await explanation(change("Passes", 999_999_999)), tooLong);
  t.regex(
    await explanation(change("Parallelism", 0)),
    /Invalid parameters of the file's key derivation/,
  );
});

test("an excessive cost is refused before the passphrase is asked for", async (t) => {
  const workspace = makeWorkspace(t);
  await startRecorder(t, workspace, () => ({ type: "success" }));
  workspace.write("dear", pbkdf2(2 ** 31 - 1), 0o600);
  const { stderr, status } = await runOurs(workspace, ["dear"], { input: "sesame\n" });
  t.is(stderr, `Error loading key "dear": invalid format\nreason: ${tooLong}\n`);
  t.is(status, 1);
});

test("slow key derivation shows a spinner, and Ctrl-C ends it", async (t) => {
  const workspace = makeWorkspace(t);
  await startRecorder(t, workspace, () => ({ type: "success" }));
  const files = { bcrypt: await withRounds(workspace, 20_000), pbkdf2: pbkdf2(300_000_000) };
  for (const [name, file] of Object.entries(files)) {
    workspace.write(name, file, 0o600);
    const terminal = startTerminal(workspace, sshAdd, [name]);
    await terminal.waitFor(`Enter passphrase for ${name}: `);
    terminal.type("sesame\r");
    await terminal.waitFor(/Deriving the key from the passphrase, which takes about \d minutes…/);
    terminal.type("\x03");
    t.deepEqual(await terminal.exit, { status: 130, restored: true });
    t.true(terminal.screen().endsWith("\u001b[K"), JSON.stringify(terminal.screen()));
  }
});

test("slow key derivation runs in a thread, with the same result", async (t) => {
  const salt = Buffer.from("a salt that is as long");
  const announced: number[] = [];
  const announce = (seconds: number) => {
    announced.push(seconds);
    return { end: () => announced.push(0) };
  };
  const bcrypt = { type: "bcrypt", salt, rounds: 70 } as const;
  const long = await derive(bcrypt, Buffer.from("sesame"), 64, announce);
  t.is(announced.length, 2);
  const { default: library } = await import("bcrypt-pbkdf");
  const expected = Buffer.alloc(64);
  library.pbkdf(Buffer.from("sesame"), 6, salt, salt.length, expected, 64, 70);
  t.deepEqual(long, expected);
  const quick = { ...bcrypt, rounds: 1 };
  await derive(quick, Buffer.from("sesame"), 32, announce);
  t.is(announced.length, 2);
});

test("OpenSSL's and JavaScript's Argon2 give the same key", async (t) => {
  const salt = Buffer.from("a salt that is as long");
  const passphrase = Buffer.from("sesame");
  for (const variant of ["Argon2id", "Argon2i", "Argon2d"] as const) {
    const argon2 = {
      type: "argon2",
      variant,
      salt,
      memory: 64,
      passes: 2,
      parallelism: 3,
    } as const;
    const expected = await runTask({ ...argon2, passphrase, length: 80 });
    t.deepEqual(await derive(argon2, passphrase, 80), expected, variant);
  }
});

test("an openssl file with many iterations is read", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await makeKey(workspace, "key", { type: "ecdsa", more: ["-m", "PKCS8"] });
  const args = ["pkcs8", "-topk8", "-iter", "2500000", "-in", path, "-passout", "pass:sesame"];
  const file = Buffer.from(await workspace.expect(openssl(), args));
  let announced = false;
  const { key } = await readPrivateKeyFile(file, Buffer.from("sesame"), () => {
    announced = true;
    return { end: () => {} };
  });
  t.true(announced);
  t.is(key.secret.type, "ecdsa");
});
