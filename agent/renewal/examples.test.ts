/** The programs in examples/renew, with stand-ins for the command lines that they run. */
import { utimesSync } from "node:fs";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { makeCa, makeKeyFile, signKey } from "../../fixtures/ca.ts";
import { projectRoot } from "../../fixtures/programs.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { parsePublicKeyLine } from "../../openssh/public-key-line.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";

/**
 * A key, and a program `name` that accepts exactly these arguments (`*` stands for any text).
 * @param act what it does then; `sign FILE` certifies a public key
 */
async function withStandIn(t: ExecutionContext, name: string, args: string[], act: string) {
  const workspace = makeWorkspace(t);
  const ca = await makeCa(workspace, "ca");
  await makeKeyFile(workspace, "key", {});
  const checks = args.map((arg) => {
    const pattern = arg.replaceAll(/[^*\w]/g, "\\$&");
    return `case $1 in ${pattern}) ;; *) echo "wrong: $1" >&2; exit 9 ;; esac; last=$1; shift`;
  });
  const sign = `sign() { ssh-keygen -q -s ${workspace.path("ca")} -I stand-in -n alice -V +1h "$1"; }`;
  const script = ["#!/bin/sh", "set -eu", sign, `[ $# = ${args.length} ]`, ...checks, act];
  workspace.write(`bin/${name}`, `${script.join("\n")}\n`, 0o700);
  const key = await workspace.expect("cat", ["key.pub"]);
  const run = (example: string, env: Record<string, string>) =>
    workspace.run(join(projectRoot, "examples", "renew", example), [], {
      env: { PATH: `${workspace.path("bin")}:${workspace.env.PATH}`, ...env },
      input: key,
    });
  return { workspace, ca, key, run };
}

/** Checks that an output is the certificate of a key. */
function isCertificateOf(t: ExecutionContext, key: string, output: string): void {
  const blobOf = (line: string) => parsePublicKeyLine(line.trim())?.blob ?? Buffer.alloc(0);
  const { keyBlob, certificate } = verifyKeyOrCertificate(blobOf(output));
  t.is(certificate?.keyId, "stand-in");
  t.true(keyBlob.equals(blobOf(key)));
}

for (const [name, program] of [
  ["HashiCorp Vault", "vault"],
  ["OpenBao", "bao"],
] as const) {
  test(`${name} signs with a role`, async (t) => {
    const { key, run } = await withStandIn(
      t,
      program,
      [
        "write",
        "-field=signed_key",
        "ssh-client-signer/sign/people",
        "public_key=-",
        "valid_principals=alice",
      ],
      'cd "$HOME"; cat >key.pub; sign key.pub; cat key-cert.pub',
    );
    const env = { VAULT_SSH_ROLE: "people", VAULT_SSH_PRINCIPALS: "alice" };
    isCertificateOf(t, key, (await run("vault.sh", env)).stdout);
    const { status, stderr } = await run("vault.sh", { VAULT_SSH_PRINCIPALS: "alice" });
    t.not(status, 0);
    t.regex(stderr, /VAULT_SSH_ROLE/);
  });
}

test("step-ca signs with a provisioner", async (t) => {
  const { key, run } = await withStandIn(
    t,
    "step",
    [
      "ssh",
      "certificate",
      "--sign",
      "--force",
      "--provisioner=people",
      "--provisioner-password-file=/etc/a password",
      "alice@example.com",
      "*/key.pub",
    ],
    'echo "✔ Provisioner: people"; sign "$last"',
  );
  const env = {
    STEP_KEY_ID: "alice@example.com",
    STEP_PROVISIONER: "people",
    STEP_PASSWORD_FILE: "/etc/a password",
  };
  isCertificateOf(t, key, (await run("step-ca.sh", env)).stdout);
});

test("step-ca signs with the provisioner that the user chooses", async (t) => {
  const args = ["ssh", "certificate", "--sign", "--force", "alice", "*/key.pub"];
  const { workspace, key, run } = await withStandIn(t, "step", args, 'sign "$last"');
  isCertificateOf(t, key, (await run("step-ca.sh", { STEP_KEY_ID: "alice" })).stdout);
  t.is(await workspace.expect("ls", [workspace.path("tmp")]), "");
});

test("Teleport certifies the key of a YubiKey", async (t) => {
  const folder = "$HOME/.tsh/keys/proxy.example.com/alice-ssh";
  const { workspace, ca, key, run } = await withStandIn(
    t,
    "tsh",
    ["login", "--proxy=proxy.example.com:443"],
    `echo "> Profile URL: ..."; mkdir -p ${folder}; cp "$KEY" ${folder}/root.pub; sign ${folder}/root.pub`,
  );
  const env = { TELEPORT_PROXY: "proxy.example.com:443", KEY: workspace.path("key.pub") };
  isCertificateOf(t, key, (await run("teleport.sh", env)).stdout);
  // Older ones for the same key: of another cluster behind the proxy, and of another proxy.
  const older = ["a.example.com/alice-ssh/root", "proxy.example.com/alice-ssh/a-leaf"];
  for (const path of older) {
    const file = workspace.write(`home/.tsh/keys/${path}.pub`, key);
    await signKey(ca, file, { keyId: "older" });
    utimesSync(`${file.slice(0, -4)}-cert.pub`, 1, 1);
  }
  isCertificateOf(t, key, (await run("teleport.sh", env)).stdout);
  await makeKeyFile(workspace, "other", {});
  await workspace.expect("rm", ["-r", join(workspace.home, ".tsh")]);
  const { status, stderr } = await run("teleport.sh", { ...env, KEY: workspace.path("other.pub") });
  t.is(status, 1);
  t.regex(stderr, /tsh has no certificate for this key\n$/);
});

for (const [version, name] of [
  ["today's opkssh", "-cert.pub"],
  ["an older opkssh", ".pub"],
] as const) {
  test(`${version} certifies the key that it has made`, async (t) => {
    const { workspace, key, run } = await withStandIn(
      t,
      "opkssh",
      ["login", "--auto-refresh", "--private-key-file=*"],
      `file=\${last#*=}; cp "$KEY" "$file"; cp "$KEY.pub" made.pub; sign made.pub; mv made-cert.pub "$file${name}"`,
    );
    const file = workspace.path("id_opkssh");
    const { status, stderr } = await run("opkssh.sh", { OPKSSH_KEY: file });
    t.is(status, 1);
    t.is(stderr, `opkssh has no certificate for this key in ${file}-cert.pub\n`);
    const login = ["login", "--auto-refresh", `--private-key-file=${file}`];
    await workspace.expect(workspace.path("bin/opkssh"), login, {
      env: { KEY: workspace.path("key") },
    });
    isCertificateOf(t, key, (await run("opkssh.sh", { OPKSSH_KEY: file })).stdout);
  });
}
