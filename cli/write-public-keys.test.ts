/** `ssh-add --write-public-keys`. */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import test, { type ExecutionContext } from "ava";
import { sshAgent } from "../fixtures/programs.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { certify, makeKey, runOurs } from "./test-agent.ts";

/** An agent with the key `work` and its certificate, and the key `home`. */
async function prepare(t: ExecutionContext, program?: string) {
  const workspace = makeWorkspace(t);
  const agent = await startAgent(workspace, program === undefined ? {} : { program });
  workspace.env.SSH_AUTH_SOCK = agent.socket;
  const work = await makeKey(workspace, "work", { comment: "work key" });
  await certify(workspace, await makeKey(workspace, "ca"), work);
  const other = await makeKey(workspace, "private", { comment: "../home" });
  await runOurs(workspace, ["-q", work, other]);
  const folder = workspace.path("keys");
  const write = (...more: string[]) => runOurs(workspace, ["--write-public-keys", folder, ...more]);
  const read = (name: string) => readFileSync(`${folder}/${name}`, "utf8");
  return { workspace, folder, write, read };
}

const written = ["home.pub", "work-key-cert.pub", "work-key.pub"];

for (const [name, program] of [
  ["this agent", sshAgent],
  ["OpenSSH's agent", undefined],
] as const) {
  test(`the public keys and certificates of ${name} are written`, async (t) => {
    const { workspace, folder, write, read } = await prepare(t, program);
    const result = await write();
    t.is(result.status, 0);
    t.is(result.stdout, "");
    t.deepEqual(result.stderr.split("\n").sort(), [
      "",
      `Certificate written: ${folder}/work-key-cert.pub`,
      `Public key written: ${folder}/home.pub`,
      `Public key written: ${folder}/work-key.pub`,
    ]);
    t.deepEqual(readdirSync(folder).sort(), written);
    const lines = (await runOurs(workspace, ["-L"])).stdout.split(/(?<=\n)/);
    t.deepEqual(written.map(read).sort(), lines.sort());
    for (const file of written) t.is(statSync(`${folder}/${file}`).mode & 0o7777, 0o644);
    t.like(await write(), { stdout: "", stderr: "", status: 0 });
  });
}

test("a file with the same key stays as it is, and one with another is not replaced", async (t) => {
  const { folder, write, read } = await prepare(t);
  await write("-q");
  const [, type, blob] = /^(\S+) (\S+)/.exec(read("work-key.pub")) ?? [];
  writeFileSync(`${folder}/work-key.pub`, `# mine\n${type} ${blob} my own comment\n`);
  const other = read("home.pub").replace(/AAAA\S+/, (base64) => base64.replace(/...$/, "AAA"));
  writeFileSync(`${folder}/home.pub`, other);
  const result = await write();
  t.is(result.status, 1);
  t.is(
    result.stderr,
    `Public key not written: ${folder}/home.pub is another file\n` +
      "hint: Move these files away, or name another folder.\n",
  );
  t.is(read("home.pub"), other);
  t.is(read("work-key.pub"), `# mine\n${type} ${blob} my own comment\n`);
  t.deepEqual(readdirSync(folder).sort(), written);
});

test("nothing is written through a symbolic link, to a folder or to a fifo", async (t) => {
  const { workspace, folder, write, read } = await prepare(t);
  mkdirSync(folder);
  const target = workspace.path("target");
  symlinkSync(target, `${folder}/home.pub`);
  mkdirSync(`${folder}/work-key.pub`);
  await workspace.expect("mkfifo", [`${folder}/work-key-cert.pub`]);
  const result = await write();
  t.is(result.status, 1);
  t.is(result.stderr.match(/ is another file$/gm)?.length, 3);
  t.throws(() => lstatSync(target));
  t.deepEqual(readdirSync(folder).sort(), written);
  // A link to a file with the key is as good as the file.
  await runOurs(workspace, ["--write-public-keys", workspace.path("others")]);
  const link = workspace.path("others/home.pub");
  writeFileSync(target, readFileSync(link));
  t.is((await write()).stderr.match(/ is another file$/gm)?.length, 2);
  t.is(read("home.pub"), readFileSync(link, "utf8"));
});

test("the others are written when some are not", async (t) => {
  const { folder, write } = await prepare(t);
  mkdirSync(folder);
  writeFileSync(`${folder}/work-key.pub`, "something else\n");
  t.is((await write("-q")).status, 1);
  t.deepEqual(readdirSync(folder).sort(), written);
});

test("a folder that cannot be made or written, and an agent without identities", async (t) => {
  const { workspace } = await prepare(t);
  const write = (folder: string) => runOurs(workspace, ["--write-public-keys", folder]);
  const missing = workspace.path("a/b");
  t.like(await write(missing), {
    stderr: `Could not write to ${missing}: No such file or directory\n`,
    status: 1,
  });
  const file = workspace.write("file", "");
  t.like(await write(file), { stderr: `Could not write to ${file}: Not a directory\n`, status: 1 });
  await runOurs(workspace, ["-qD"]);
  const none = await write(workspace.path("keys"));
  t.like(none, { stdout: "The agent has no identities.\n", status: 1 });
});

test("two certificates of a key have names of their own", async (t) => {
  const { workspace, folder, write } = await prepare(t, sshAgent);
  const ca = await makeKey(workspace, "other-ca");
  await certify(workspace, ca, workspace.path("work"), { keyId: "other" });
  await runOurs(workspace, ["-q", "--cert-for-card", workspace.path("work-cert.pub")]);
  t.is((await write("-q")).status, 0);
  const names = readdirSync(folder).filter((name) => name.startsWith("work"));
  t.is(names.length, 3);
  t.is(names.filter((name) => /^work-key-[A-Za-z0-9]{8}-cert\.pub$/.test(name)).length, 2);
});
