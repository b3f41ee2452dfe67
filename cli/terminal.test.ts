/** Output on a terminal: spinners, the tree of providers, escaped control characters. */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { sshAdd } from "../fixtures/programs.ts";
import { script } from "../fixtures/system-programs.ts";
import { startTerminal } from "../fixtures/terminal.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { parsePublicKeyLine } from "../openssh/public-key-line.ts";
import { encodeListProvidersReply } from "../protocol/extensions/list-providers.ts";
import {
  encodeListUpstreamsReply,
  type UpstreamDescription,
} from "../protocol/extensions/list-upstreams.ts";
import { extensionNames } from "../protocol/extensions/names.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest } from "../protocol/requests.ts";
import { usage } from "./options.ts";
import { makeKey, runOurs, startRecorder } from "./test-agent.ts";

const line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAIx+6Lml5mGgxS914qFQOdFKIntQOs0E5Lv37tep2kq";
const keyBlob = parsePublicKeyLine(line)?.blob as Buffer;
const comment = "red \u001b[31m\u202e";

/** Runs ssh-add on a terminal. @returns the terminal's output */
async function onTerminal(
  workspace: Workspace,
  args: string,
  env: Record<string, string> = {},
): Promise<string> {
  const askpass = workspace.write("askpass", "#!/bin/sh\necho 1234\n", 0o700);
  const all = { SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force", TERM: "xterm", ...env };
  const command = ["-qec", `${sshAdd} ${args}`, "/dev/null"];
  const { stdout } = await workspace.run(script(), command, { env: all });
  return stdout;
}

/** Starts a fake agent with one provider, which delays loading cards and signing. */
async function prepare(
  t: ExecutionContext,
  delay = 0,
  upstreams: readonly UpstreamDescription[] = [],
): Promise<Workspace> {
  const workspace = makeWorkspace(t);
  await startRecorder(t, workspace, async (bytes): Promise<Reply> => {
    const request = decodeRequest(bytes);
    if (request.type === "request-identities") {
      return { type: "identities", identities: [{ keyBlob, comment }] };
    }
    if (request.type === "extension" && request.name === extensionNames.listProviders) {
      const token = { label: "c\u0007ard", manufacturer: "maker", model: "model", serial: "1" };
      const body = encodeListProvidersReply([
        {
          path: "/lib/a.so",
          requested: "a",
          state: "ready",
          tokens: [token],
          identities: [keyBlob],
          tokenStates: ["pin-needed"],
        },
        { path: "/lib/b.so", requested: "b", state: "card-absent", tokens: [], identities: [] },
      ]);
      return { type: "extension-response", name: request.name, body };
    }
    if (request.type === "extension" && request.name === extensionNames.listUpstreams) {
      const body = encodeListUpstreamsReply(upstreams);
      return { type: "extension-response", name: request.name, body };
    }
    await sleep(delay);
    return request.type === "sign" ? { type: "failure" } : { type: "success" };
  });
  return workspace;
}

test("control characters are escaped", async (t) => {
  const workspace = await prepare(t);
  t.regex(
    await onTerminal(workspace, "-l"),
    /^256 SHA256:\S+ red \\033\[31m\\342\\200\\256 \(ED25519\)\r\n$/,
  );
  const piped = await workspace.expect(sshAdd, ["-l"]);
  t.true(piped.includes(`${comment} (ED25519)\n`));
  const json = await onTerminal(workspace, "-l --json");
  t.true(json.includes('"comment":"red \\u001b[31m\\u202e"'), json);
});

test("control characters in a file name are escaped in prompts and messages", async (t) => {
  const workspace = await prepare(t);
  const name = "k\u001b[2J\u009b\u2069";
  await makeKey(workspace, name, { passphrase: "sesame" });
  const terminal = startTerminal(workspace, sshAdd, [name, "no\u0007file"]);
  const safe = "k\\033[2J\\302\\233\\342\\201\\251";
  await terminal.waitFor(`Enter passphrase for ${safe}: `);
  terminal.type("\r");
  await terminal.waitFor("no\\007file: No such file or directory\n");
  t.is((await terminal.exit).status, 1);
  t.notRegex(terminal.screen().replaceAll("\n", ""), /[\p{Cc}\p{Bidi_Control}]/u);
});

test("help and the version keep their lines", async (t) => {
  const workspace = await prepare(t);
  for (const option of ["--help", "--version"]) {
    const shown = await onTerminal(workspace, option);
    t.is(shown.replaceAll("\r\n", "\n"), (await runOurs(workspace, [option])).stdout);
  }
});

test("providers are shown as a tree, in colour unless NO_COLOR is set", async (t) => {
  const workspace = await prepare(t);
  const plain = await onTerminal(workspace, "--list-providers", { NO_COLOR: "1" });
  const lines = plain.trimEnd().split("\r\n");
  t.is(lines[0], "/lib/a.so ready");
  t.is(lines[1], "├─ token c\\007ard maker model, serial 1 PIN needed");
  t.regex(lines[2] ?? "", /^└─ ED25519 256 SHA256:\S+ red \\033\[31m\\342\\200\\256$/);
  t.is(lines[3], "/lib/b.so card absent");
  t.is(lines.length, 4);
  const coloured = await onTerminal(workspace, "--list-providers");
  t.true(coloured.includes("\u001b[32mready\u001b[39m"), coloured);
  t.true(coloured.includes("\u001b[31mcard absent\u001b[39m"));
});

test("upstream agents are shown with the providers: as a tree, as lines, and in JSON", async (t) => {
  const workspace = await prepare(t, 0, [
    { path: "/run/a\u0007", state: "ready", name: "gpg-\u001bagent", identities: [keyBlob] },
    { path: "/run/b", state: "ready", name: "", identities: [] },
    { path: "/run/c", state: "slow", name: "ssh-agent", identities: [] },
  ]);
  const plain = await onTerminal(workspace, "--list-providers", { NO_COLOR: "1" });
  const [first, key, ...others] = plain.trimEnd().split("\r\n").slice(4);
  t.is(first, "/run/a\\007 gpg-\\033agent upstream agent ready, 1 identity");
  t.regex(key ?? "", /^└─ ED25519 256 SHA256:\S+ red \\033\[31m\\342\\200\\256$/);
  t.deepEqual(others, [
    "/run/b upstream agent ready, 0 identities",
    "/run/c ssh-agent upstream agent does not answer",
  ]);
  const coloured = await onTerminal(workspace, "--list-providers");
  t.true(coloured.includes("\u001b[31mdoes not answer\u001b[39m"), coloured);
  const lines = (await runOurs(workspace, ["--list-providers"])).stdout.trimEnd().split("\n");
  t.is(lines[4], "upstream /run/a\u0007 ready 1 gpg-\u001bagent");
  t.true(lines[5]?.startsWith("key /run/a\u0007 256 SHA256:"), lines[5]);
  t.deepEqual(lines.slice(6), ["upstream /run/b ready 0", "upstream /run/c slow 0 ssh-agent"]);
  const json = JSON.parse((await runOurs(workspace, ["--list-providers", "--json"])).stdout);
  t.is(json.upstreams.length, 3);
});

test("on a narrow terminal the spinner's text is truncated", async (t) => {
  const workspace = await prepare(t, 900);
  const command = `stty cols 10; exec ${sshAdd} -s /lib/a.so`;
  const askpass = workspace.write("askpass", "#!/bin/sh\necho 1234\n", 0o700);
  const env = { SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force" };
  const { stdout } = await workspace.run(script(), ["-qec", command, "/dev/null"], { env });
  t.regex(stdout, /\r⠋ Loading\r/);
});

test("Ctrl-C erases the spinner", async (t) => {
  const workspace = await prepare(t, 60_000);
  const SSH_ASKPASS = workspace.write("askpass", "#!/bin/sh\necho 1234\n", 0o700);
  const env = { SSH_ASKPASS, SSH_ASKPASS_REQUIRE: "force" };
  const terminal = startTerminal(workspace, sshAdd, ["-s", "/lib/a.so"], env);
  await terminal.waitFor("⠋ Loading token…");
  terminal.type("\x03");
  t.is((await terminal.exit).status, 130);
  const [before = "", after] = terminal.screen().split("\u001b[K");
  t.true(before.includes("⠋"));
  t.is(after, "");
});

test("a slow card shows a spinner, which is erased", async (t) => {
  const workspace = await prepare(t, 900);
  const shown = await onTerminal(workspace, "-s /lib/a.so");
  t.regex(shown, /\r⠋ Loading token…/);
  t.true(shown.endsWith("\r\u001b[KCard added: /lib/a.so\r\n"), shown);
});

test("a slow signature asks for a touch", async (t) => {
  const workspace = await prepare(t, 900);
  await makeKey(workspace, "key");
  const shown = await onTerminal(workspace, "-T key");
  t.regex(shown, /\r⠋ Waiting for the signature; touch your card/);
  t.true(shown.includes("\r\u001b[KAgent signature failed for key: agent refused operation\r"));
});

test("a fast operation, or one without a terminal, shows no spinner", async (t) => {
  const quick = await prepare(t);
  for (const args of ["-s /lib/a.so", "-s /lib/a.so >file"]) {
    let shown = "";
    // Again if a very busy machine was not fast.
    for (let tries = 0, time = 500; time >= 500 && tries < 10; tries++) {
      const started = performance.now();
      shown = await onTerminal(quick, args);
      time = performance.now() - started;
    }
    t.is(shown, "Card added: /lib/a.so\r\n");
  }
  const slow = await prepare(t, 900);
  const { stderr } = await slow.run(sshAdd, ["-s", "/lib/a.so"], { input: "1\n" });
  t.is(stderr, "Enter passphrase for PKCS#11: Card added: /lib/a.so\n");
});

test("the usage keeps its lines, and the process has the name ssh-add", async (t) => {
  const workspace = makeWorkspace(t);
  await startRecorder(t, workspace, async () => {
    const isNamed = readdirSync("/proc").some((pid) => isSshAdd(workspace, pid));
    return !isNamed ? { type: "failure" } : { type: "identities", identities: [] };
  });
  const shown = await onTerminal(workspace, "-Z");
  t.true(shown.includes(usage.replaceAll("\n", "\r\n")), shown);
  t.is((await runOurs(workspace, ["-l"])).stdout, "The agent has no identities.\n");
});

/** Whether a process of the workspace has the name ssh-add. */
function isSshAdd(workspace: Workspace, pid: string): boolean {
  if (!/^\d+$/.test(pid)) return false;
  try {
    const isOurs = readFileSync(`/proc/${pid}/environ`, "latin1").includes(workspace.root);
    return isOurs && readFileSync(`/proc/${pid}/comm`, "latin1") === "ssh-add\n";
  } catch {
    return false;
  }
}
