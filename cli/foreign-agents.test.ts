/** Agents of other projects: how they are recognized, and what is reported about them. */
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname } from "node:path";
import test from "ava";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { parsePublicKeyLine } from "../openssh/public-key-line.ts";
import { requestNumbers } from "../protocol/numbers.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest } from "../protocol/requests.ts";
import { foreignAgent } from "./foreign-agents.ts";
import { makeKey, runOurs, startRecorder } from "./test-agent.ts";

test("agents are recognized by their sockets, also through a link", (t) => {
  const workspace = makeWorkspace(t);
  const known = (path: string) =>
    foreignAgent(path)?.refusals[requestNumbers["add-smartcard-key"]]?.reason.replace(
      / loads .*/,
      "",
    );
  t.is(known("/run/user/1000/gnupg/S.gpg-agent.ssh"), "gpg-agent");
  t.is(known("/home/alice/.gnupg/S.gpg-agent.ssh"), "gpg-agent");
  for (const folder of ["/run/user/1000/keyring", "/tmp/keyring-x8Hw3t", "/run/user/1000/gcr"]) {
    t.is(known(`${folder}/ssh`), "The GNOME keyring's agent");
  }
  for (const path of ["/home/alice/.ssh/agent/s.x", "/gcr/ssh/agent", "S.gpg-agent.ssh.old", ""]) {
    t.is(known(path), undefined);
  }
  t.is(foreignAgent(undefined), undefined);
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
