/** `ssh-add -s LIB --only KEY` with agents that do not know of it. */
import test, { type ExecutionContext } from "ava";
import { keysOf, makeToken, writePublicKey } from "../fixtures/softhsm.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { onlyKeys } from "../protocol/constraints.ts";
import { encodeQueryReply } from "../protocol/extensions/query.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest } from "../protocol/requests.ts";
import { makeKey, runOurs, startRecorder } from "./test-agent.ts";

/** OpenSSH's agent, and a token with two keys. */
async function prepare(t: ExecutionContext) {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256", "p384"]) });
  const agent = await startAgent(workspace, { env: token.env });
  workspace.env.SSH_AUTH_SOCK = agent.socket;
  const publicKey = await writePublicKey(token, "01", "card.pub");
  const other = await makeKey(workspace, "other");
  const load = (...args: string[]) =>
    runOurs(workspace, ["-s", token.library, ...args], { input: `${token.pin}\n` });
  const list = async () => (await runOurs(workspace, ["-l"])).stdout;
  return { workspace, token, publicKey, other, load, list };
}

test("from OpenSSH's agent, the keys that are not chosen are removed", async (t) => {
  const { workspace, token, publicKey, other, load, list } = await prepare(t);
  await runOurs(workspace, ["-q", other]);
  const added = await load("--only", publicKey);
  t.regex(added.stderr, /Card added: /);
  t.is(added.status, 0);
  const listed = await list();
  t.regex(listed, /^256 SHA256:\S+ comment of other \(ED25519\)\n256 \S+ .*\(ECDSA\)\n$/);
  t.is((await runOurs(workspace, ["-T", publicKey])).status, 0);
  await runOurs(workspace, ["-e", token.library]);
  const absent = await makeKey(workspace, "absent");
  const some = await load("--only", publicKey, "--only", absent);
  t.regex(some.stderr, /Card added: .*\nKey .*\/absent is not on this token\n$/);
  t.is(some.status, 1);
});

test("from OpenSSH's agent, a library without a chosen key is unloaded", async (t) => {
  const { token, publicKey, other, load, list } = await prepare(t);
  const refused = await load("--only", `${other}.pub`);
  t.is(
    refused.stderr.replace("Enter passphrase for PKCS#11: ", ""),
    `Could not add card "${token.library}": none of the chosen keys is on it\n` +
      `hint: List its keys with: ssh-keygen -D ${token.library}\n`,
  );
  t.is(refused.status, 1);
  t.is(await list(), "The agent has no identities.\n");
  t.is((await load("--only", publicKey)).status, 0);
});

test("the choice is sent as a constraint to an agent that knows it, and no key is removed", async (t) => {
  const workspace = makeWorkspace(t);
  const recorder = await startRecorder(t, workspace, async (bytes): Promise<Reply> => {
    const request = decodeRequest(bytes);
    if (request.type === "request-identities") return { type: "identities", identities: [] };
    if (request.type !== "extension") return { type: "success" };
    const body = encodeQueryReply(request.name === "query" ? [onlyKeys] : []);
    return { type: "extension-response", name: request.name, body };
  });
  const fingerprint = `SHA256:${"A".repeat(43)}`;
  const md5 = `MD5:${Array(16).fill("0f").join(":")}`;
  await runOurs(workspace, ["-s", "LIB", "--only", fingerprint, "--only", md5], { input: "1\n" });
  const sent = recorder.requests.map(decodeRequest);
  const [add, ...others] = sent.filter(({ type }) => type === "add-smartcard-key");
  t.deepEqual(others, []);
  t.like(add, { constraints: [{ type: "only-keys", fingerprints: [fingerprint, md5] }] });
  t.false(sent.some(({ type }) => type === "remove-identity"));
});
