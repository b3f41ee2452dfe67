/** `ssh-add -l -v`: what it shows below each certificate. */
import { readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { sshAdd } from "../fixtures/programs.ts";
import { script } from "../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { parsePublicKeyLine } from "../openssh/public-key-line.ts";
import {
  encodeListRenewalsReply,
  type RenewalDescription,
} from "../protocol/extensions/list-renewals.ts";
import { encodeListUpstreamsReply } from "../protocol/extensions/list-upstreams.ts";
import { extensionNames } from "../protocol/extensions/names.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest } from "../protocol/requests.ts";
import { certify, makeKey, runOurs, startRecorder } from "./test-agent.ts";

const seconds = () => BigInt(Math.floor(Date.now() / 1000));

/** A fake agent with a key and a certificate for it. */
async function prepare(
  t: ExecutionContext,
  { keyId = "alice@host", principals = ["alice"], validity = "-1d:+90m" } = {},
  renewals: (key: Buffer, certificate: Buffer) => RenewalDescription[] = () => [],
) {
  const workspace = makeWorkspace(t);
  const ca = await makeKey(workspace, "ca", { type: "ecdsa" });
  const key = await makeKey(workspace, "key");
  const path = await certify(workspace, ca, key, { keyId, principals, validity });
  const [certificate, plain] = [blobOf(path), blobOf(`${key}.pub`)];
  const identities = [certificate, plain].map((keyBlob) => ({ keyBlob, comment: "mine" }));
  await startRecorder(t, workspace, (bytes): Reply => {
    const request = decodeRequest(bytes);
    if (request.type === "request-identities") return { type: "identities", identities };
    if (request.type !== "extension") return { type: "failure" };
    const { name } = request;
    if (name === extensionNames.listRenewals) {
      const body = encodeListRenewalsReply(renewals(plain, certificate));
      return { type: "extension-response", name, body };
    }
    if (name !== extensionNames.listUpstreams) return { type: "failure" };
    const gone = { path: "/run/gone", state: "gone", name: "", identities: [] } as const;
    return { type: "extension-response", name, body: encodeListUpstreamsReply([gone]) };
  });
  const print = (await workspace.expect("ssh-keygen", ["-l", "-f", ca])).split(" ")[1];
  return { workspace, identities, caPrint: print ?? "" };
}

function blobOf(file: string): Buffer {
  return parsePublicKeyLine(readFileSync(file, "utf8"))?.blob ?? Buffer.alloc(0);
}

async function onTerminal(workspace: Workspace, args: string, env: Record<string, string>) {
  const command = ["-qec", `${sshAdd} ${args}`, "/dev/null"];
  const { stdout } = await workspace.run(script(), command, { env: { TERM: "xterm", ...env } });
  return stdout.replaceAll("\r\n", "\n");
}

test("below each certificate: key ID, principals, CA and time left", async (t) => {
  const { workspace, caPrint } = await prepare(t);
  const plain = await runOurs(workspace, ["-l"]);
  const { stdout, stderr, status } = await runOurs(workspace, ["-l", "-v"]);
  t.is(status, 0);
  const lines = stdout.split("\n");
  t.deepEqual(
    lines.filter((line) => !line.startsWith("        ")),
    plain.stdout.split("\n"),
  );
  t.regex(lines[0] ?? "", /mine \(ED25519-CERT\)$/);
  t.deepEqual(lines.slice(1, 4), [
    '        Key ID: "alice@host"',
    "        Principals: alice",
    `        CA: ECDSA ${caPrint}`,
  ]);
  t.regex(lines[4] ?? "", /^ {8}Validity: valid for 1h(29|30)m$/);
  t.regex(lines[5] ?? "", /mine \(ED25519\)$/);
  // Whose keys are missing in the list, as a debugging message.
  t.is(stderr, "debug1: upstream agent /run/gone: gone\r\n");
  t.is(plain.stderr, "");
  const md5 = await runOurs(workspace, ["-lvE", "md5"]);
  t.regex(md5.stdout, /CA: ECDSA MD5:/);
});

test("a certificate without principals has none, as ssh-keygen -L says", async (t) => {
  const { workspace } = await prepare(t, { principals: [] });
  t.is((await runOurs(workspace, ["-lv"])).stdout.split("\n")[2], "        Principals: (none)");
});

test("the certificate's text is escaped, also in a pipe", async (t) => {
  const { workspace } = await prepare(t, { keyId: "a\u001b[2Jb\nCA: forged" });
  const { stdout } = await runOurs(workspace, ["-lv"]);
  t.true(stdout.includes('Key ID: "a\\033[2Jb\\012CA: forged"'), stdout);
});

test("on a terminal in colours, unless NO_COLOR is set", async (t) => {
  const { workspace } = await prepare(t, { validity: "-1d:+30m" });
  const coloured = await onTerminal(workspace, "-lv", {});
  const [before = "", after = ""] = coloured.split(/valid for (?:29|30)m\d+s/);
  t.true(before.endsWith("\u001b[33m") && after.startsWith("\u001b[39m"), coloured);
  const plain = await onTerminal(workspace, "-lv", { NO_COLOR: "1" });
  t.regex(plain, /\n {8}Validity: valid for (29|30)m\d+s\n/);
});

test("when the agent renews it, and why that failed", async (t) => {
  const scheduled = (keyBlob: Buffer, certificate: Buffer): RenewalDescription => ({
    keyBlob,
    certificate,
    state: "scheduled",
    lastTry: seconds() - 125n,
    nextTry: seconds() + 7300n,
    lastError: "",
  });
  let renewal: Partial<RenewalDescription> = {};
  const { workspace, identities } = await prepare(t, {}, (key, certificate) => [
    { ...scheduled(key, certificate), ...renewal },
  ]);
  const shown = async () => (await runOurs(workspace, ["-lv"])).stdout.split("\n");
  t.regex((await shown())[5] ?? "", /^ {8}Renewal: in 2h1m, last 2m\ds ago$/);
  // While the program runs, the error is that of the run before.
  renewal = { nextTry: 0n, state: "running" };
  t.regex((await shown())[5] ?? "", /^ {8}Renewal: running for 2m\ds$/);
  renewal = { nextTry: 0n, state: "running", lastError: "It exited." };
  t.regex((await shown())[5] ?? "", /Renewal: running for 2m\ds, after a failure: It exited\.$/);
  renewal = { nextTry: seconds() - 5n, lastError: "It exited\u0007." };
  t.regex((await shown())[5] ?? "", /Renewal: due, after a failure 2m\ds ago: It exited\\007\.$/);
  // Below the key once the agent has dropped the certificate.
  identities.shift();
  renewal = { lastTry: 0n };
  t.regex((await shown())[1] ?? "", /^ {8}Renewal: in 2h1m$/);
  const json = JSON.parse((await runOurs(workspace, ["-l", "--json"])).stdout);
  t.is(json.identities[0].renewal.state, "scheduled");
});
