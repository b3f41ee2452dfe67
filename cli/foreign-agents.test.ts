/** Agents of other projects: how they are recognized, and what is reported about them. */
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname } from "node:path";
import test from "ava";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { parsePublicKeyLine } from "../openssh/public-key-line.ts";
import {
  encodeListUpstreamsReply,
  type UpstreamDescription,
} from "../protocol/extensions/list-upstreams.ts";
import { extensionNames } from "../protocol/extensions/names.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest } from "../protocol/requests.ts";
import { knownAgent } from "./agent.ts";
import { makeKey, runOurs, startRecorder } from "./test-agent.ts";

test("agents are recognized by their sockets, also through a link", (t) => {
  const workspace = makeWorkspace(t);
  const known = (path: string) => knownAgent(path)?.name;
  t.is(known("/run/user/1000/gnupg/S.gpg-agent.ssh"), "gpg-agent");
  t.is(known("/home/alice/.gnupg/S.gpg-agent.ssh"), "gpg-agent");
  for (const folder of ["/run/user/1000/keyring", "/tmp/keyring-x8Hw3t", "/run/user/1000/gcr"]) {
    t.is(known(`${folder}/ssh`), "GNOME keyring");
  }
  for (const path of ["/home/alice/.ssh/agent/s.x", "/gcr/ssh/agent", "S.gpg-agent.ssh.old", ""]) {
    t.is(known(path), undefined);
  }
  t.is(knownAgent(undefined), undefined);
  t.is(knownAgent("/tmp/relay", "gpg-agent")?.name, "gpg-agent");
  t.is(knownAgent("/tmp/relay", "ssh-agent"), undefined);
  const socket = workspace.path("gnupg", "S.gpg-agent.ssh");
  mkdirSync(dirname(socket));
  workspace.write("gnupg/S.gpg-agent.ssh", "");
  symlinkSync(socket, workspace.path("agent"));
  t.is(known(workspace.path("agent")), "gpg-agent");
});

test("identities still listed after -d, -D and -x are reported, with any agent", async (t) => {
  const workspace = makeWorkspace(t);
  const files = [await makeKey(workspace, "one"), await makeKey(workspace, "two")];
  const identities = files.map((file) => {
    const line = parsePublicKeyLine(readFileSync(`${file}.pub`, "utf8"));
    return { keyBlob: line?.blob ?? Buffer.alloc(0), comment: "" };
  });
  await startRecorder(t, workspace, async (bytes): Promise<Reply> => {
    const { type } = decodeRequest(bytes);
    if (type === "extension") return { type: "failure" };
    if (type === "request-identities") return { type: "identities", identities };
    return { type: "success" };
  });
  const told = async (args: string[]) => {
    const { stderr, status } = await runOurs(workspace, args, { input: "a\na\n" });
    t.is(status, 0);
    return stderr.split("\n").at(-2);
  };
  t.is(await told(["-d", "one"]), "reason: The agent still lists an identity.");
  t.is(await told(["-D"]), "reason: The agent still lists 2 identities.");
  t.is(await told(["-x"]), "reason: The agent still lists 2 identities.");
  identities.length = 0;
  t.regex((await told(["-d", "one"])) ?? "", /^Identity removed: one/);
  t.is(await told(["-D"]), "All identities removed.");
});

test("identities that upstream agents still list after -D are reported for each", async (t) => {
  const workspace = makeWorkspace(t);
  const blobs = await Promise.all(
    ["one", "two", "three"].map(async (name) => {
      const file = await makeKey(workspace, name);
      return parsePublicKeyLine(readFileSync(`${file}.pub`, "utf8"))?.blob ?? Buffer.alloc(0);
    }),
  );
  const upstreams: UpstreamDescription[] = [
    { path: "/run/relay", state: "ready", name: "gpg-agent", identities: blobs.slice(0, 2) },
    { path: "/run/gone", state: "gone", name: "", identities: [] },
    { path: "/run/other", state: "ready", name: "other", identities: blobs.slice(1) },
  ];
  await startRecorder(t, workspace, (bytes): Reply => {
    const request = decodeRequest(bytes);
    if (request.type === "request-identities") {
      return { type: "identities", identities: blobs.map((keyBlob) => ({ keyBlob, comment: "" })) };
    }
    if (request.type !== "extension") return { type: "success" };
    if (request.name !== extensionNames.listUpstreams) return { type: "failure" };
    const body = encodeListUpstreamsReply(upstreams);
    return { type: "extension-response", name: request.name, body };
  });
  const { stderr, status } = await runOurs(workspace, ["-D"]);
  t.is(status, 0);
  const [done, gpg, hint, other, ...rest] = stderr.split("\n");
  t.is(done, "All identities removed.");
  const kept = "gpg-agent says that it removed them, and keeps them.";
  t.is(gpg, `reason: The agent at /run/relay still lists 2 identities. ${kept}`);
  t.regex(hint ?? "", /^hint: Find their keygrips with: gpg-connect-agent /);
  t.is(other, "reason: The agent at /run/other still lists an identity.");
  t.deepEqual(rest, [""]);
});
