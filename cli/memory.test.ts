/** Private keys do not remain in ssh-add's memory after they are added. */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { existsSync, readFileSync, readlinkSync } from "node:fs";
import { basename } from "node:path";
import test, { type ExecutionContext } from "ava";
import { makeAskpass } from "../fixtures/askpass.ts";
import { eventually } from "../fixtures/eventually.ts";
import { type Secrets, secretsInMemory } from "../fixtures/process-memory.ts";
import { listProcesses } from "../fixtures/processes.ts";
import { sshAdd } from "../fixtures/programs.ts";
import { puttygen } from "../fixtures/system-programs.ts";
import { startTerminal } from "../fixtures/terminal.ts";
import { compositeFile, compositePassphrase } from "../fixtures/vectors/mldsa44-ed25519.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { requestNumbers } from "../protocol/numbers.ts";
import type { SecretFields } from "../protocol/private-key.ts";
import { readPrivateKeyFile } from "./files/private-key-file.ts";
import { type KeyOptions, makeKey, startRecorder } from "./test-agent.ts";

/** The passphrase of all encrypted files: long, since the next answer overwrites its beginning. */
const passphrase = "correct horse battery staple, and a dozen more of them";

function secretsOf(secret: SecretFields): Secrets {
  switch (secret.type) {
    case "rsa":
      return { d: secret.d, p: secret.p, q: secret.q, iqmp: secret.iqmp };
    case "ecdsa":
      return { scalar: secret.d };
    case "ed25519":
      return { seed: secret.seed };
    case "mldsa44-ed25519": {
      const { mlDsaSeed, ed25519Seed } = secret;
      // FIPS 204, algorithm 6: the public rho, then rho' and K.
      const expanded = createHash("shake256", { outputLength: 128 })
        .update(mlDsaSeed)
        .update(Buffer.of(4, 4))
        .digest();
      return {
        mlDsaSeed,
        ed25519Seed,
        "rho'": expanded.subarray(32, 96),
        K: expanded.subarray(96),
      };
    }
    default:
      throw new Error(`There is no secret number in a key of the type ${secret.type}.`);
  }
}

/** The parts of an added key found in ssh-add's memory while it sends the next key. */
async function leftWhileNextIsSent(
  t: ExecutionContext,
  workspace: Workspace,
  path: string,
  { named = path, passphrase: own = passphrase } = {},
) {
  const file = readFileSync(path);
  const secret = Buffer.from(own);
  const { key } = await readPrivateKeyFile(file, Buffer.from(secret));
  const next = workspace.path("next");
  if (!existsSync(next)) await makeKey(workspace, "next", { passphrase: "another" });
  const requests: Buffer[] = [];
  await startRecorder(t, workspace, (request) => {
    requests.push(request);
    return requests.length === 1 ? { type: "success" } : new Promise(() => {});
  });
  const askpass = `#!/bin/sh\ncase "$1" in *next*) echo another ;; *) echo '${own}' ;; esac\n`;
  const env = {
    SSH_ASKPASS: workspace.write("askpass", askpass, 0o700),
    SSH_ASKPASS_REQUIRE: "force",
  };
  const child = workspace.spawn(sshAdd, [named, next], { env });
  t.true(await eventually(() => requests.length === 2));
  const secrets = { ...secretsOf(key.secret), passphrase: secret };
  const left = secretsInMemory(child.pid as number, secrets);
  child.kill("SIGKILL");
  return left;
}

test.serial("a PIN that the agent has refused is not left in memory", async (t) => {
  const workspace = makeWorkspace(t);
  const requests: number[] = [];
  await startRecorder(t, workspace, (request) => {
    const type = request[0] as number;
    requests.push(type);
    const isLast = requests.includes(requestNumbers["add-smartcard-key"]);
    return isLast && type === requestNumbers.extension
      ? new Promise(() => {})
      : { type: "failure" };
  });
  const { env } = makeAskpass(workspace, passphrase);
  const child = workspace.spawn(sshAdd, ["-s", "/usr/lib/none.so"], { env });
  t.true(await eventually(() => requests.length === 3)); // it asks for the reason
  const secrets = { pin: Buffer.from(passphrase) };
  t.deepEqual(secretsInMemory(child.pid as number, secrets), []);
  child.kill("SIGKILL");
});

const files: readonly { name: string; options: KeyOptions }[] = [
  { name: "openssh-key-v1, Ed25519", options: {} },
  { name: "openssh-key-v1, ECDSA", options: { type: "ecdsa" } },
  { name: "openssh-key-v1, RSA", options: { type: "rsa" } },
  { name: "PEM, RSA", options: { type: "rsa", more: ["-m", "PEM"] } },
  { name: "PEM, ECDSA", options: { type: "ecdsa", bits: 384, more: ["-m", "PEM"] } },
  { name: "PKCS#8, RSA", options: { type: "rsa", more: ["-m", "PKCS8"] } },
];

for (const { name, options } of files) {
  test.serial(`a key that was added is not left in memory: ${name}`, async (t) => {
    const workspace = makeWorkspace(t);
    const path = await makeKey(workspace, "plain", options);
    t.deepEqual(await leftWhileNextIsSent(t, workspace, path), []);
    const encrypted = await makeKey(workspace, "encrypted", { ...options, passphrase });
    t.deepEqual(await leftWhileNextIsSent(t, workspace, encrypted), [], "encrypted");
  });
}

for (const cipher of ["aes256-cbc", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"]) {
  test.serial(`a key that was added is not left in memory: ${cipher}`, async (t) => {
    const workspace = makeWorkspace(t);
    for (const type of ["ed25519", "rsa"] as const) {
      const path = await makeKey(workspace, type, { type, passphrase, more: ["-Z", cipher] });
      t.deepEqual(await leftWhileNextIsSent(t, workspace, path), []);
    }
  });
}

test.serial("a key that was added is not left in memory: Ed25519 in PKCS#8", async (t) => {
  const workspace = makeWorkspace(t);
  const { privateKey } = generateKeyPairSync("ed25519");
  for (const [name, pem] of pkcs8Files(privateKey)) {
    const path = workspace.write(name, pem, 0o600);
    t.deepEqual(await leftWhileNextIsSent(t, workspace, path), [], name);
  }
});

function pkcs8Files(key: KeyObject): [string, string][] {
  const form = { format: "pem", type: "pkcs8" } as const;
  const plain = key.export(form).toString();
  const encrypted = createPrivateKey(plain).export({ ...form, cipher: "aes-256-cbc", passphrase });
  return [
    ["plain", plain],
    ["encrypted", encrypted.toString()],
  ];
}

test.serial("a key that was added is not left in memory: ML-DSA-44 and Ed25519", async (t) => {
  const workspace = makeWorkspace(t);
  const plain = workspace.write("plain", compositeFile("key"), 0o600);
  t.deepEqual(await leftWhileNextIsSent(t, workspace, plain), []);
  const encrypted = workspace.write("encrypted", compositeFile("key-encrypted"), 0o600);
  const options = { passphrase: compositePassphrase };
  const left = await leftWhileNextIsSent(t, workspace, encrypted, options);
  // The passphrase is too short to be searched.
  t.deepEqual(
    left.filter((name) => !name.startsWith("passphrase")),
    [],
  );
});

test.serial("a key that was added is not left in memory: PuTTY's", async (t) => {
  const workspace = makeWorkspace(t);
  workspace.write("passphrase", passphrase);
  for (const type of ["ed25519", "rsa"] as const) {
    const key = await makeKey(workspace, type, { type });
    const args = [key, "-O", "private", "-o", `${key}.ppk`, "--ppk-param", "passes=1,memory=64"];
    await workspace.expect(puttygen(), args);
    t.deepEqual(await leftWhileNextIsSent(t, workspace, `${key}.ppk`), [], "plain");
    await workspace.expect(puttygen(), [...args, "--new-passphrase", "passphrase"]);
    t.deepEqual(await leftWhileNextIsSent(t, workspace, `${key}.ppk`), [], "encrypted");
  }
});

test.serial("a key that was added is not left in memory: through a pipe", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await makeKey(workspace, "key", { type: "rsa" });
  const pipe = workspace.path("pipe");
  await workspace.expect("mkfifo", ["-m", "600", pipe]);
  workspace.spawn("sh", ["-c", `cat ${path} >${pipe}`]);
  t.deepEqual(await leftWhileNextIsSent(t, workspace, path, { named: pipe }), []);
});

test.serial("a key whose file is refused is not left in memory", async (t) => {
  const workspace = makeWorkspace(t);
  const { privateKey } = generateKeyPairSync("ed25519");
  const { d: seed = "" } = privateKey.export({ format: "jwk" });
  const secrets = { seed: Buffer.from(seed, "base64url") };
  const pem = privateKey.export({ format: "pem", type: "pkcs8" }).toString();
  const files = {
    cut: pem.slice(0, pem.indexOf("-----END")),
    der: privateKey.export({ format: "der", type: "pkcs8" }),
    jwk: JSON.stringify(privateKey.export({ format: "jwk" })),
    lines: pem.replaceAll(/-----.*-----/g, "key"),
  };
  for (const [name, content] of Object.entries(files)) {
    const path = workspace.write(name, content);
    const next = await makeKey(workspace, `${name}-next`);
    let sent = false;
    await startRecorder(t, workspace, () => {
      sent = true;
      return new Promise(() => {});
    });
    const child = workspace.spawn(sshAdd, [path, next]);
    t.true(await eventually(() => sent));
    t.deepEqual(secretsInMemory(child.pid as number, secrets), [], name);
    child.kill("SIGKILL");
  }
});

test.serial("a passphrase that was typed is not left in memory", async (t) => {
  const workspace = makeWorkspace(t);
  const key = await makeKey(workspace, "key", { passphrase });
  const next = await makeKey(workspace, "next", { passphrase: "another" });
  await startRecorder(t, workspace, () => ({ type: "success" }));
  const terminal = startTerminal(workspace, sshAdd, [key, next]);
  await terminal.waitFor("Enter passphrase for");
  terminal.type(`${passphrase}\r`);
  await terminal.waitFor(`Enter passphrase for ${next}`);
  const program = listProcesses().find(({ pid }) => isProgramOf(workspace, pid));
  t.deepEqual(secretsInMemory(program?.pid ?? 0, { passphrase: Buffer.from(passphrase) }), []);
});

/** Whether a process is the program or Node.js, which runs it, in a workspace. */
function isProgramOf({ home }: Workspace, pid: number): boolean {
  try {
    const isProgram = ["node", "ssh-add"].includes(basename(readlinkSync(`/proc/${pid}/exe`)));
    return isProgram && readFileSync(`/proc/${pid}/environ`, "utf8").includes(`HOME=${home}\0`);
  } catch {
    return false; // it has ended
  }
}
