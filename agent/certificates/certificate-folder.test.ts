import {
  chmodSync,
  chownSync,
  mkdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import type { AgentClient } from "../../protocol/client.ts";
import { encodePublicKey } from "../../protocol/public-key.ts";
import { verifySignature } from "../../protocol/verification.ts";
import { systemClock } from "../host/clock.ts";
import {
  comments,
  generateKey,
  makeCa,
  startAgent,
  type TestAgentOptions,
  type TestCa,
} from "../test-agent.ts";
import { followCertificates } from "./serve-folder.ts";

const ca = makeCa();
const type = "ssh-ed25519-cert-v01@openssh.com";

/** The line of a certificate's file. */
function line(certificate: Buffer): string {
  return `${type} ${certificate.toString("base64")} comment\n`;
}

/** An agent that follows a folder, with a key that it holds. */
async function withFolder(
  t: ExecutionContext,
  options: TestAgentOptions = {},
  isMade = true,
  folder = makeWorkspace(t).path("home/certificates"),
) {
  if (isMade) mkdirSync(folder, { recursive: true });
  const started = await startAgent(t, { clock: systemClock, ...options });
  const followed = followCertificates(started.agent, folder);
  t.teardown(() => followed.close());
  await followed.read();
  const client = await started.connect();
  const key = generateKey("ed25519");
  const file = join(folder, "key-cert.pub");
  const certify = (serial: bigint, fields: Parameters<TestCa["certify"]>[1] = {}) =>
    ca.certify(key.publicKey, { serial, validBefore: 2_000_000_000n + serial, ...fields });
  return { folder, file, client, key, certify, ...started };
}

/** Whether the agent lists exactly these, after a while. */
function lists(client: AgentClient, blobs: readonly Buffer[]): Promise<boolean> {
  return eventually(async () => {
    const listed = await client.identities();
    return (
      listed.length === blobs.length &&
      listed.every(({ keyBlob }, index) => keyBlob.equals(blobs[index] ?? Buffer.alloc(0)))
    );
  });
}

test("certificates are attached, replaced and removed as their files are", async (t) => {
  const { file, client, key, certify } = await withFolder(t);
  await client.addIdentity(key, "key");
  const plain = encodePublicKey(key.publicKey);
  const [first, second] = [certify(1n), certify(2n)];
  writeFileSync(file, line(first));
  t.true(await lists(client, [first, plain]));
  const data = Buffer.from("data");
  t.true(verifySignature(key.publicKey, await client.sign(first, data), data));
  writeFileSync(`${file}.new`, line(second));
  renameSync(`${file}.new`, file);
  t.true(await lists(client, [second, plain]));
  // One that does not supersede the other, in the same file.
  const third = certify(3n, { principals: ["somebody"] });
  writeFileSync(file, line(third));
  t.true(await lists(client, [third, plain]));
  rmSync(file);
  t.true(await lists(client, [plain]));
});

test("a certificate waits for its key, and comes back with it", async (t) => {
  const { folder, file, client, key, certify, agent } = await withFolder(t);
  const certificate = certify(1n);
  writeFileSync(file, line(certificate));
  await agent.certificateFolder?.read();
  t.deepEqual(await comments(client), []);
  await client.addIdentity(key, "key");
  t.deepEqual(await comments(client), ["key", "key"]);
  await client.removeAllIdentities();
  await client.addIdentity(key, "key");
  t.deepEqual(await comments(client), ["key", "key"]);
  // Once removed by itself it stays away, also when other files change.
  await client.removeIdentity(certificate);
  writeFileSync(join(folder, "other.pub"), line(ca.certify(generateKey("ed25519").publicKey)));
  await agent.certificateFolder?.read();
  t.deepEqual(await comments(client), ["key"]);
});

test("a certificate waits for the key of an upstream agent", async (t) => {
  const behind = await startAgent(t);
  const upstreams = [{ path: behind.path, confirm: false }];
  const { file, client, key, certify, agent } = await withFolder(t, { upstreams });
  writeFileSync(file, line(certify(1n)));
  await agent.certificateFolder?.read();
  t.deepEqual(await comments(client), []);
  await (await behind.connect()).addIdentity(key, "theirs");
  t.deepEqual(await comments(client), ["theirs", "theirs"]);
});

test("a folder that does not exist yet, or is replaced, is noticed", async (t) => {
  const { folder, file, client, key, certify } = await withFolder(t, {}, false);
  await client.addIdentity(key, "key");
  const plain = encodePublicKey(key.publicKey);
  const [first, second] = [certify(1n), certify(2n)];
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, line(first));
  t.true(await lists(client, [first, plain]));
  renameSync(folder, `${folder}.old`);
  t.true(await lists(client, [plain]));
  mkdirSync(`${folder}.new`);
  writeFileSync(join(`${folder}.new`, "key.pub"), line(second));
  renameSync(`${folder}.new`, folder);
  t.true(await lists(client, [second, plain]));
});

test("the targets of links are followed", async (t) => {
  const { folder, file, client, key, certify } = await withFolder(t);
  await client.addIdentity(key, "key");
  const shows = (serial: bigint) =>
    lists(client, [certify(serial), encodePublicKey(key.publicKey)]);
  const target = join(dirname(folder), "target.pub");
  writeFileSync(target, line(certify(1n)));
  symlinkSync(target, file);
  t.true(await shows(1n));
  writeFileSync(target, line(certify(2n)));
  t.true(await shows(2n));
  rmSync(file);
  t.true(await lists(client, [encodePublicKey(key.publicKey)]));
  // As Kubernetes replaces all files of a volume at once: the link is on the way.
  for (const serial of [3n, 4n]) {
    mkdirSync(join(folder, `version-${serial}`));
    writeFileSync(join(folder, `version-${serial}`, "key-cert.pub"), line(certify(serial)));
    symlinkSync(`version-${serial}`, join(folder, "next"));
    renameSync(join(folder, "next"), join(folder, "current"));
    if (serial === 3n) symlinkSync("current/key-cert.pub", file);
    t.true(await shows(serial), `${serial}`);
  }
});

test("a folder is found again when the way to it has changed", async (t) => {
  const root = makeWorkspace(t).path("root");
  const folder = join(root, "parent", "certificates");
  mkdirSync(folder, { recursive: true });
  const { client, key, certify } = await withFolder(t, {}, true, folder);
  await client.addIdentity(key, "key");
  const plain = encodePublicKey(key.publicKey);
  const put = (path: string, serial: bigint) => {
    mkdirSync(path, { recursive: true });
    writeFileSync(join(path, "key-cert.pub"), line(certify(serial)));
  };
  put(folder, 1n);
  t.true(await lists(client, [certify(1n), plain]));
  renameSync(dirname(folder), `${dirname(folder)}.old`);
  t.true(await lists(client, [plain]));
  put(folder, 2n);
  t.true(await lists(client, [certify(2n), plain]));
  renameSync(root, `${root}.old`);
  t.true(await lists(client, [plain]));
  put(folder, 3n);
  t.true(await lists(client, [certify(3n), plain]));
  rmSync(folder, { recursive: true });
  put(folder, 4n); // perhaps with the inode of the old one
  t.true(await lists(client, [certify(4n), plain]));
  // The folder is a link.
  put(join(root, "one"), 5n);
  put(join(root, "two"), 6n);
  rmSync(folder, { recursive: true });
  symlinkSync("../one", folder);
  t.true(await lists(client, [certify(5n), plain]));
  put(join(root, "one"), 7n);
  t.true(await lists(client, [certify(7n), plain]));
  symlinkSync("../two", `${folder}.new`);
  renameSync(`${folder}.new`, folder);
  t.true(await lists(client, [certify(6n), plain]));
});

test("a file that is not whole yet is read again when it is", async (t) => {
  const { file, client, key, certify, agent } = await withFolder(t);
  await client.addIdentity(key, "key");
  const certificate = certify(1n);
  const text = line(certificate);
  writeFileSync(file, text.slice(0, 200));
  await agent.certificateFolder?.read();
  t.deepEqual(await comments(client), ["key"]);
  writeFileSync(file, text);
  t.true(await lists(client, [certificate, encodePublicKey(key.publicKey)]));
});

test("files that others may change are passed over, with a line in the log", async (t) => {
  const { folder, file, client, key, certify, agent, log } = await withFolder(t);
  await client.addIdentity(key, "key");
  writeFileSync(file, line(certify(1n)));
  chmodSync(file, 0o666);
  const other = join(folder, "other.pub");
  if (process.getuid?.() === 0) {
    writeFileSync(other, line(certify(2n)));
    chownSync(other, 12345, 12345);
  }
  mkdirSync(join(folder, "folder.pub"));
  await agent.certificateFolder?.read();
  t.deepEqual(await comments(client), ["key"]);
  t.true(log.includes(`passed over ${file}: others may write it`));
  t.true(log.includes(`passed over ${join(folder, "folder.pub")}: it is no regular file`));
  if (process.getuid?.() === 0)
    t.true(log.includes(`passed over ${other}: it belongs to user 12345`));
  chmodSync(file, 0o644);
  t.true(await lists(client, [certify(1n), encodePublicKey(key.publicKey)]));
});

test("what cannot be read is told in the log, once", async (t) => {
  const { folder, file, agent, log } = await withFolder(t);
  symlinkSync(file, file);
  symlinkSync("nothing", join(folder, "dangling.pub"));
  await agent.certificateFolder?.read();
  rmSync(folder, { recursive: true });
  writeFileSync(folder, "");
  await agent.certificateFolder?.read();
  await agent.certificateFolder?.read();
  const told = log.filter((entry) => entry.includes(folder));
  t.deepEqual(told, [
    `passed over ${file}: Too many levels of symbolic links`,
    `cannot read ${folder}: Not a directory`,
  ]);
});

test("a locked agent reads nothing; unlocking catches up", async (t) => {
  const { file, client, key, certify, agent } = await withFolder(t);
  await client.addIdentity(key, "key");
  await client.lock(Buffer.from("secret"));
  writeFileSync(file, line(certify(1n)));
  await agent.certificateFolder?.read();
  t.is([...agent.keyring.identities()].length, 1);
  await client.unlock(Buffer.from("secret"));
  t.true(await lists(client, [certify(1n), encodePublicKey(key.publicKey)]));
});

test("expired certificates and plain keys are of no use", async (t) => {
  const { folder, file, client, key, certify, agent, log } = await withFolder(t);
  await client.addIdentity(key, "key");
  writeFileSync(file, line(certify(1n, { validBefore: 1n })));
  const plain = encodePublicKey(key.publicKey);
  writeFileSync(join(folder, "key.pub"), `ssh-ed25519 ${plain.toString("base64")} key\n`);
  writeFileSync(join(folder, "note.txt"), line(certify(2n)));
  await agent.certificateFolder?.read();
  t.deepEqual(await comments(client), ["key"]);
  t.true(log.some((entry) => entry.startsWith("did not attach key-cert.pub: ")));
});

test("a certificate that the agent has a newer one for is not attached again", async (t) => {
  const behind = await startAgent(t);
  const inner = await behind.connect();
  const upstreams = [{ path: behind.path, confirm: false }];
  const { client, key, file, certify } = await withFolder(t, { upstreams });
  await inner.addIdentity(key, "key");
  const plain = encodePublicKey(key.publicKey);
  const [first, second] = [certify(1n), certify(2n)];
  writeFileSync(file, line(first));
  t.true(await lists(client, [first, plain]));
  await client.addCertificate({ certificate: second, comment: "", replace: true, constraints: [] });
  t.true(await lists(client, [second, plain]));
  t.true(await lists(client, [second, plain]));
});

test("of two certificates of a key, the older one is there when the newer one's file is not", async (t) => {
  const { folder, client, key, certify, agent } = await withFolder(t);
  await client.addIdentity(key, "key");
  const plain = encodePublicKey(key.publicKey);
  const [older, newer] = [certify(1n), certify(2n)];
  writeFileSync(join(folder, "a.pub"), line(newer));
  t.true(await lists(client, [newer, plain]));
  // In whichever order they come.
  writeFileSync(join(folder, "b.pub"), line(older));
  await agent.certificateFolder?.read();
  t.true(await lists(client, [newer, plain]));
  rmSync(join(folder, "a.pub"));
  t.true(await lists(client, [older, plain]));
});
