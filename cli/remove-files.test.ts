/** `ssh-add -d`: a key goes with all its certificates. */
import test, { type ExecutionContext } from "ava";
import { sshAgent } from "../fixtures/programs.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest } from "../protocol/requests.ts";
import { certify, heldKeyIds, makeKey, runOurs, startRecorder } from "./test-agent.ts";

/** A workspace with the project's agent, a CA, a key, and a function that certifies it again. */
async function prepare(t: ExecutionContext) {
  const workspace = makeWorkspace(t);
  const agent = await startAgent(workspace, { program: sshAgent });
  workspace.env.SSH_AUTH_SOCK = agent.socket;
  const ca = await makeKey(workspace, "ca");
  const key = await makeKey(workspace, "key");
  const make = (keyId: string, by = ca) => certify(workspace, by, key, { keyId });
  return { workspace, key, make };
}

test("-d KEY removes all certificates of the key, and of no other key", async (t) => {
  const { workspace, key, make } = await prepare(t);
  const more = await makeKey(workspace, "more");
  const elsewhere = await makeKey(workspace, "elsewhere");
  await certify(workspace, more, elsewhere);
  await runOurs(workspace, ["elsewhere"]);
  await make("first");
  await runOurs(workspace, ["key"]);
  await make("second", more);
  await runOurs(workspace, ["key"]);
  await make("third", elsewhere);
  await runOurs(workspace, ["key"]);
  t.is((await heldKeyIds(workspace)).length, 6);
  const removed = await runOurs(workspace, ["-d", "key"]);
  const lines = [
    "Identity removed: key ED25519 (comment of key)",
    "Identity removed: key-cert.pub ED25519-CERT (comment of key)",
    "Certificate removed: key (first)",
    "Certificate removed: key (second)",
  ];
  t.deepEqual(removed.stderr.split("\n"), [...lines, ""]);
  t.is(removed.status, 0);
  t.deepEqual(await heldKeyIds(workspace), ["key", "the key"]);
  // The second time there is nothing to remove.
  t.is((await runOurs(workspace, ["-d", key])).status, 1);
});

test("-d -k keeps certificates, -d -C the key, -d CERT everything else", async (t) => {
  const { workspace, make } = await prepare(t);
  const more = await makeKey(workspace, "more");
  const addBoth = async () => {
    await runOurs(workspace, ["-D"]);
    await make("first");
    await runOurs(workspace, ["key"]);
    await make("second", more);
    await runOurs(workspace, ["key"]);
  };
  for (const [args, left, status] of [
    [["-dk", "key"], ["first", "second"], 0],
    [["-dC", "key"], ["key"], 0],
    [["-d", "key-cert.pub"], ["key", "first"], 0],
    [["-d", "key.pub"], [], 0],
    [["-qd", "key", "key"], [], 1],
  ] as const) {
    await addBoth();
    const result = await runOurs(workspace, [...args]);
    t.deepEqual(await heldKeyIds(workspace), [...left], args.join(" "));
    t.is(result.status, status);
  }
});

test("-d KEY succeeds if the agent has only certificates of the key", async (t) => {
  const { workspace, make } = await prepare(t);
  await make("first");
  await runOurs(workspace, ["-C", "key"]);
  await workspace.expect("rm", ["key-cert.pub"]);
  const { stderr, status } = await runOurs(workspace, ["-d", "key"]);
  t.regex(stderr, /^Could not remove identity "key": [\s\S]*^Certificate removed: key \(first\)$/m);
  t.is(status, 0);
  t.deepEqual(await heldKeyIds(workspace), []);
});

test("-d lists the identities once", async (t) => {
  const workspace = makeWorkspace(t);
  const files = [await makeKey(workspace, "one"), await makeKey(workspace, "two")];
  const types: string[] = [];
  await startRecorder(t, workspace, (bytes): Reply => {
    const { type } = decodeRequest(bytes);
    types.push(type);
    return type === "request-identities"
      ? { type: "identities", identities: [] }
      : { type: "success" };
  });
  t.is((await runOurs(workspace, ["-d", ...files])).status, 0);
  t.deepEqual(types, ["remove-identity", "remove-identity", "request-identities"]);
});
