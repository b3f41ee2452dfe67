import { readFileSync } from "node:fs";
import test from "ava";
import { sshKeygen } from "../../fixtures/system-programs.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { certify, makeKey, runOurs, startSystemAgent } from "../test-agent.ts";
import { readCertificateFile } from "./certificate-file.ts";
import { loadPublicKey } from "./public-key-file.ts";

test("a byte order mark before a public key or certificate is ignored", async (t) => {
  const workspace = makeWorkspace(t);
  const path = await makeKey(workspace, "key");
  const certificate = await certify(workspace, await makeKey(workspace, "ca"), path);
  for (const file of [`${path}.pub`, certificate]) {
    const expected = loadPublicKey(file);
    workspace.write("marked", `\ufeff${readFileSync(file, "utf8")}`);
    t.deepEqual(loadPublicKey(workspace.path("marked")), expected);
  }
  t.is(readCertificateFile(workspace.path("marked")).certificate.keyId, "the key");
});

for (const type of ["rsa", "ecdsa", "ed25519", "dsa"] as const) {
  test(`a public key in RFC 4716 format: ${type}`, async (t) => {
    const workspace = makeWorkspace(t);
    const path = await makeKey(workspace, "key", { type });
    const { blob } = loadPublicKey(`${path}.pub`);
    const text = await workspace.expect(sshKeygen(), ["-e", "-f", `${path}.pub`]);
    t.true(text.startsWith("---- BEGIN SSH2 PUBLIC KEY ----"));
    for (const form of [text, text.replaceAll("\n", "\r\n"), `\ufeff${text}`]) {
      workspace.write("other", form);
      t.deepEqual(loadPublicKey(workspace.path("other")).blob, blob);
    }
    const damaged = text.replace(/AAAA./, "AAAAA");
    workspace.write("other", damaged);
    t.throws(() => loadPublicKey(workspace.path("other")), { message: /No such file/ });
  });
}

test("ssh-add -d accepts a public key in RFC 4716 format", async (t) => {
  const workspace = makeWorkspace(t);
  await startSystemAgent(workspace);
  await makeKey(workspace, "key", { type: "rsa", comment: "an old key" });
  const text = await workspace.expect(sshKeygen(), ["-e", "-f", "key.pub"]);
  const commented = text.replace(/^Comment: .*$/m, 'Comment: "an old \\\nkey"');
  workspace.write("other", commented);
  t.is((await runOurs(workspace, ["key"])).status, 0);
  const removed = await runOurs(workspace, ["-d", "other"]);
  t.is(removed.stderr, "Identity removed: other RSA (an old key)\n");
});
