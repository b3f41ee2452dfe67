/** Certificates of key files: kept after expiry with -N, and renewed by adding them again. */
import test, { type ExecutionContext } from "ava";
import { sshAgent } from "../fixtures/programs.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import type { Constraint } from "../protocol/constraints.ts";
import { encodeQueryReply } from "../protocol/extensions/query.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest } from "../protocol/requests.ts";
import { certify, heldKeyIds, makeKey, runOurs, runSystem, startRecorder } from "./test-agent.ts";

/** A workspace with the project's agent, a CA and a key. */
async function prepare(t: ExecutionContext, args: string[] = []) {
  const workspace = makeWorkspace(t);
  const agent = await startAgent(workspace, { program: sshAgent, args });
  workspace.env.SSH_AUTH_SOCK = agent.socket;
  const ca = await makeKey(workspace, "ca");
  const key = await makeKey(workspace, "key");
  const make = (keyId: string, validity?: string, by = ca) =>
    certify(workspace, by, key, validity === undefined ? { keyId } : { keyId, validity });
  return { workspace, key, make };
}

for (const [whose, run] of [
  ["our", runOurs],
  ["the system's", runSystem],
] as const) {
  test(`${whose} ssh-add KEY supersedes the certificate of the key`, async (t) => {
    const { workspace, key, make } = await prepare(t);
    await make("monday", "-1d:+1d");
    await run(workspace, ["key"]);
    t.deepEqual(await heldKeyIds(workspace), ["key", "monday"]);
    await make("tuesday", "-1d:+2d");
    t.is((await run(workspace, ["key"])).status, 0);
    t.deepEqual(await heldKeyIds(workspace), ["key", "tuesday"]);
    await make("other CA", "-1d:+3d", await makeKey(workspace, "other"));
    await run(workspace, ["key"]);
    t.deepEqual(await heldKeyIds(workspace), ["key", "tuesday", "other CA"]);
    const { status } = await run(workspace, ["-T", `${key}-cert.pub`]);
    t.is(status, 0);
  });
}

const success: Reply = { type: "success" };

/** The constraints of each identity that ssh-add -N sends to an agent with these extensions. */
async function sent(
  t: ExecutionContext,
  extensions: readonly string[] | undefined,
  flags: string[],
) {
  const workspace = makeWorkspace(t);
  const ca = await makeKey(workspace, "ca");
  for (const name of ["one", "two"]) {
    await certify(workspace, ca, await makeKey(workspace, name), { validity: "-1d:+1d" });
  }
  const constraints: (readonly Constraint["type"][])[] = [];
  let queries = 0;
  await startRecorder(t, workspace, (bytes): Reply => {
    const request = decodeRequest(bytes);
    if (request.type === "extension") {
      queries++;
      if (extensions === undefined) return { type: "failure" };
      const body = encodeQueryReply(extensions);
      return { type: "extension-response", name: request.name, body };
    }
    if (request.type !== "add-identity") return { type: "failure" };
    constraints.push(request.constraints.map(({ type }) => type));
    return success;
  });
  t.is((await runOurs(workspace, [...flags, "one", "two"])).status, 0);
  return { constraints, queries };
}

test("-N sends keep-ended-certificate only to an agent that supports it", async (t) => {
  const known = ["a@b", "keep-ended-certificate@cardagent.alt"];
  const kept = [[], ["keep-ended-certificate"], [], ["keep-ended-certificate"]];
  t.deepEqual(await sent(t, known, ["-N"]), { constraints: kept, queries: 1 });
  const plain = [[], [], [], []];
  t.deepEqual(await sent(t, ["a@b"], ["-N"]), { constraints: plain, queries: 1 });
  t.deepEqual(await sent(t, undefined, ["-N"]), { constraints: plain, queries: 1 });
  t.deepEqual(await sent(t, known, ["-Nk"]), { constraints: [[], []], queries: 0 });
  const limited = [[], ["lifetime"], [], ["lifetime"]];
  t.deepEqual(await sent(t, known, []), { constraints: limited, queries: 0 });
});

test("a certificate that has just expired is added for the rest of its grace period", async (t) => {
  const { workspace, make } = await prepare(t);
  await make("just ended", "-2h:-1m");
  const { stderr } = await runOurs(workspace, ["key"]);
  t.regex(stderr, /^Certificate added: .+ \(just ended\)\nLifetime set to 00:0[34]:\d\d$/m);
  t.deepEqual(await heldKeyIds(workspace), ["key", "just ended"]);
  await make("long ended", "-2h:-6m");
  t.regex((await runOurs(workspace, ["key"])).stderr, /key-cert.pub has already expired; ignored/);
});

test("without a grace period an expired certificate is dropped at once, but not with -N", async (t) => {
  const { workspace, make } = await prepare(t, ["-O", "certificate-grace=0"]);
  await make("ended", "-2h:-1h");
  const refused = await runSystem(workspace, ["key"]);
  t.regex(
    refused.stderr,
    /^Certificate key-cert.pub \(ended\) add failed: agent refused operation/m,
  );
  t.is(refused.status, 0);
  t.deepEqual(await heldKeyIds(workspace), ["key"]);
  await runOurs(workspace, ["-N", "key"]);
  t.deepEqual(await heldKeyIds(workspace), ["key", "ended"]);
});
