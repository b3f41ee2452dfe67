/** Adding files: behaviour newer than OpenSSH 9.2's, and this ssh-add's own messages. */
import { renameSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { sshAdd } from "../fixtures/programs.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { certify, makeKey, runOurs, runSystem, startSystemAgent } from "./test-agent.ts";

async function prepare(t: ExecutionContext): Promise<Workspace> {
  const workspace = makeWorkspace(t);
  await startSystemAgent(workspace);
  await makeKey(workspace, "ca");
  await makeKey(workspace, "key");
  return workspace;
}

const certifyKey = (workspace: Workspace, validity: string) =>
  certify(workspace, workspace.path("ca"), workspace.path("key"), { validity });

async function listed(workspace: Workspace): Promise<string[]> {
  const { stdout } = await runSystem(workspace, ["-l"]);
  return [...stdout.matchAll(/ (.*)\)$/gm)].map(([, line = ""]) => line.replace(/^\S+ /, ""));
}

test("the default files of the home directory are added in order", async (t) => {
  const workspace = await prepare(t);
  for (const name of ["id_ed25519", "id_rsa", "id_ecdsa"]) {
    const type = name.slice(3) as "ed25519" | "rsa" | "ecdsa";
    await makeKey(workspace, `home/.ssh/${name}`, { type, comment: name });
  }
  await makeKey(workspace, "home/.ssh/id_other", { comment: "other" });
  t.is((await runOurs(workspace, [])).status, 0);
  t.deepEqual(await listed(workspace), ["id_rsa (RSA", "id_ecdsa (ECDSA", "id_ed25519 (ED25519"]);
  t.is((await runOurs(workspace, ["-d"])).status, 0);
  t.deepEqual(await listed(workspace), []);
});

test("without default files, ssh-add fails silently", async (t) => {
  const workspace = await prepare(t);
  const nothing = { stdout: "", stderr: "", status: 1, signal: null };
  t.deepEqual(await runOurs(workspace, []), nothing);
  t.deepEqual(await runOurs(workspace, ["-d"]), nothing);
});

test("a certificate's lifetime ends five minutes after its expiry", async (t) => {
  const workspace = await prepare(t);
  await certifyKey(workspace, "-1h:+1h");
  const added = await runOurs(workspace, ["key"]);
  t.regex(
    added.stderr,
    /^Identity added: key \(comment of key\)\nCertificate added: key-cert\.pub \(the key\)\nLifetime set to 01:0[45]:\d\d\n$/,
  );
  const shorter = await runOurs(workspace, ["-t", "10m", "key"]);
  t.is(shorter.stderr.match(/^Lifetime set to 00:10:00$/gm)?.length, 2);
  const longer = await runOurs(workspace, ["-t", "1d", "key"]);
  t.regex(longer.stderr, /Lifetime set to 1d00h00m\n.*\nLifetime set to 01:0[45]:\d\d\n$/);
  t.notRegex((await runOurs(workspace, ["-N", "key"])).stderr, /Lifetime/);
});

test("an expired certificate is not added", async (t) => {
  const workspace = await prepare(t);
  await certifyKey(workspace, "20200101:20200102");
  const added = await runOurs(workspace, ["key"]);
  t.is(
    added.stderr,
    "Identity added: key (comment of key)\nCertificate key-cert.pub has already expired; ignored\r\n",
  );
  t.is(added.status, 0);
  t.deepEqual(await listed(workspace), ["comment of key (ED25519"]);
  t.is((await runOurs(workspace, ["-C", "key"])).status, 1);
  t.regex((await runOurs(workspace, ["-N", "key"])).stderr, /Certificate added: key-cert\.pub/);
});

test("-C adds and removes certificates only", async (t) => {
  const workspace = await prepare(t);
  await certifyKey(workspace, "always:forever");
  const added = await runOurs(workspace, ["-C", "key"]);
  t.like(added, { stderr: "Certificate added: key-cert.pub (the key)\n", status: 0 });
  await runOurs(workspace, ["-k", "key"]);
  const removed = await runOurs(workspace, ["-Cd", "key"]);
  t.is(removed.stderr, "Identity removed: key-cert.pub ED25519-CERT (comment of key)\n");
  t.is(removed.status, 0);
  t.deepEqual(await listed(workspace), ["comment of key (ED25519"]);
});

test("a file that is not a private key is described", async (t) => {
  const workspace = await prepare(t);
  renameSync(workspace.path("key.pub"), workspace.path("public"));
  await runOurs(workspace, ["public"]);
  await workspace.expect("chmod", ["600", "public"]);
  const added = await runOurs(workspace, ["public"]);
  t.regex(
    added.stderr,
    /^Error loading key "public": invalid format\nreason: The file is a public key; .*\n$/,
  );
  t.is(added.status, 1);
});

test("a public key file is described, whatever its permissions", async (t) => {
  const workspace = await prepare(t);
  await certifyKey(workspace, "always:forever");
  await workspace.expect("chmod", ["644", "key.pub", "key-cert.pub"]);
  for (const [name, what] of [
    ["key.pub", "a public key; name the private key, whose name has no .pub."],
    ["key-cert.pub", "a certificate; name the private key, and this is added with it as"],
  ] as const) {
    const { stderr, status } = await runOurs(workspace, [name]);
    t.true(
      stderr.startsWith(`Error loading key "${name}": invalid format\nreason: The file is ${what}`),
      stderr,
    );
    t.is(status, 1);
  }
  await workspace.expect("chmod", ["644", "key"]);
  t.regex((await runOurs(workspace, ["key"])).stderr, /UNPROTECTED PRIVATE KEY FILE/);
});

test("a closed pipe ends ssh-add silently", async (t) => {
  const workspace = await prepare(t);
  for (let index = 0; index < 3; index++) {
    await makeKey(workspace, `key${index}`, { comment: "x".repeat(60_000) });
    await runOurs(workspace, [`key${index}`]);
  }
  const result = await workspace.run("sh", ["-c", `${sshAdd} -L | head -c 1`]);
  t.deepEqual(result, { stdout: "s", stderr: "", status: 0, signal: null });
});
