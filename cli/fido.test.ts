/** Keys on FIDO authenticators, with the software authenticator of OpenSSH's tests. */
import { readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { makeAskpass } from "../fixtures/askpass.ts";
import { makeCa, signKey } from "../fixtures/ca.ts";
import { sshAgent } from "../fixtures/programs.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { skDummy, sshKeygen, systemSshAdd, systemSshAgent } from "../fixtures/system-programs.ts";
import { startTerminal } from "../fixtures/terminal.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { writePrivateKey } from "../protocol/private-key.ts";
import { Writer } from "../protocol/wire.ts";
import { readPrivateKeyFile } from "./files/private-key-file.ts";
import { runOurs, runSystem } from "./test-agent.ts";

const types = ["ecdsa-sk", "ed25519-sk"];

/** A workspace with a key of each type and its certificate. */
async function prepare(t: ExecutionContext): Promise<Workspace> {
  const workspace = makeWorkspace(t);
  const ca = await makeCa(workspace);
  for (const type of types) {
    const args = ["-q", "-t", type, "-C", type, "-N", "", "-w", skDummy(), "-f", type];
    await workspace.expect(sshKeygen(), args);
    await signKey(ca, workspace.path(`${type}.pub`), { keyId: type, principals: ["alice"] });
  }
  return workspace;
}

const tested = types.flatMap((type) => [`${type}.pub`, `${type}-cert.pub`]);

for (const program of [sshAgent, systemSshAgent()]) {
  const whose = program === sshAgent ? "the project's" : "the system's";

  test(`key files and certificates go to ${whose} agent, which signs`, async (t) => {
    const workspace = await prepare(t);
    Object.assign(workspace.env, (await startAgent(workspace, { program })).env);
    for (const run of [runOurs, runSystem]) {
      const ways = [
        { args: ["-S", skDummy(), ...types], env: { SSH_SK_PROVIDER: "/no/such.so" } },
        { args: types, env: { SSH_SK_PROVIDER: skDummy() } },
      ];
      for (const { args, env } of ways) {
        t.is((await run(workspace, args, { env })).status, 0);
        const { stdout } = await run(workspace, ["-l"]);
        t.deepEqual(stdout.match(/(?<=\()\S+(?=\))/g), [
          ...["ECDSA-SK", "ECDSA-SK-CERT", "ED25519-SK", "ED25519-SK-CERT"],
        ]);
        const silence = { stdout: "", stderr: "", status: 0, signal: null };
        t.deepEqual(await run(workspace, ["-T", ...tested]), silence);
        t.is((await run(workspace, ["-d", ...types])).status, 0);
      }
    }
  });
}

test("a library that the agent may not load is refused with its reason", async (t) => {
  const workspace = await prepare(t);
  const agent = { program: sshAgent, args: ["-P", "/usr/lib/x/*"] };
  Object.assign(workspace.env, (await startAgent(workspace, agent)).env);
  const { stderr, status } = await runOurs(workspace, ["-S", skDummy(), "ed25519-sk"]);
  t.regex(
    stderr,
    /^Could not add identity "ed25519-sk": agent refused .*\nreason: .+ not load .*\n/,
  );
  t.is(status, 1);
});

test("the user is told to touch the authenticator, and an agent signs a file", async (t) => {
  const workspace = await prepare(t);
  const askpass = makeAskpass(workspace, "");
  const options = { program: sshAgent, env: askpass.env };
  Object.assign(workspace.env, (await startAgent(workspace, options)).env);
  await runOurs(workspace, ["-k", "-S", skDummy(), ...types]);
  for (const type of types) {
    workspace.write("text", type);
    const signing = ["-Y", "sign", "-n", "file", "-f", `${type}.pub`, "text"];
    await workspace.expect("sh", ["-c", `rm -f text.sig ${type}`]);
    await workspace.expect(sshKeygen(), signing);
    const checking = ["-Y", "check-novalidate", "-n", "file", "-s", "text.sig"];
    const checked = await workspace.run(sshKeygen(), checking, { input: type });
    t.regex(checked.stdout, /^Good "file" signature with E\S+-SK key/);
  }
  for (const { prompt, kind } of askpass.calls()) {
    t.regex(prompt, /^Confirm user presence for key (ECDSA|ED25519)-SK SHA256:\S+$/);
    t.is(kind, "none");
  }
});

for (const program of [sshAgent, systemSshAgent()]) {
  const whose = program === sshAgent ? "the project's" : "the system's";

  test(`without a display, the terminal of ${whose} agent tells that a touch is needed`, async (t) => {
    const workspace = await prepare(t);
    const SSH_AUTH_SOCK = workspace.path("agent.sock");
    const terminal = startTerminal(workspace, program, ["-D", "-a", SSH_AUTH_SOCK]);
    await terminal.waitFor("Agent pid");
    const env = { SSH_AUTH_SOCK };
    t.is((await runSystem(workspace, ["-k", "-S", skDummy(), "ed25519-sk"], { env })).status, 0);
    t.is((await runSystem(workspace, ["-T", "ed25519-sk.pub"], { env })).status, 0);
    await terminal.waitFor("Confirm user presence for key ED25519-SK SHA256:");
    terminal.type("\x03");
    await terminal.exit;
  });
}

test("-K reports a missing authenticator or library like OpenSSH", async (t) => {
  const workspace = makeWorkspace(t);
  Object.assign(workspace.env, (await startAgent(workspace)).env);
  const calls = [["-K"], ["-K", "-S", "/no/such.so"], ["-S", "internal", "-qK"]];
  for (const args of calls) {
    const theirs = await workspace.run(systemSshAdd(), args, { input: "1234\n" });
    const ours = await runOurs(workspace, args, { input: "1234\n" });
    t.is(ours.stderr.replace(/(reason|hint): .*\n/g, ""), theirs.stderr);
    t.is(ours.status, theirs.status);
  }
  const env = { SSH_SK_HELPER: "/no/such/helper" };
  const missing = await runOurs(workspace, ["-K"], { input: "1234\n", env });
  t.regex(missing.stderr, /Unable to load resident keys: No such file.*\r\nreason: .*\nhint: /);
});

test("-K adds all keys of an authenticator, with OpenSSH's messages", async (t) => {
  const workspace = await prepare(t);
  // The helper answers with key, comment and user ID for each key.
  const answer = new Writer().byte(5).uint32(3);
  for (const type of types) {
    const file = readFileSync(workspace.path(type));
    const { key } = await readPrivateKeyFile(file, Buffer.alloc(0));
    const fields = new Writer();
    writePrivateKey(fields, key);
    answer.string(fields.finish()).text("").text("user");
  }
  const bytes = answer.finish();
  const framed = new Writer().string(bytes).finish();
  workspace.write("answer", framed);
  const script = `#!/bin/sh\nhead -c 60 >/dev/null\nexec cat ${workspace.path("answer")}\n`;
  const env = {
    SSH_SK_HELPER: workspace.write("helper", script, 0o700),
    SSH_SK_PROVIDER: skDummy(),
  };
  for (const program of [sshAgent, systemSshAgent()]) {
    Object.assign(workspace.env, (await startAgent(workspace, { program })).env);
    const theirs = await runSystem(workspace, ["-K"], { input: "1234\n", env });
    t.is(theirs.status, 0);
    await runOurs(workspace, ["-D"]);
    const ours = await runOurs(workspace, ["-K"], { input: "1234\n", env });
    t.deepEqual(ours, theirs);
    const { stdout } = await runOurs(workspace, ["-l"]);
    t.deepEqual(stdout.match(/ \S+ (?=\()/g), [" ssh: ", " ssh: "]);
    t.is((await runOurs(workspace, ["-T", ...types.map((type) => `${type}.pub`)])).status, 0);
  }
});
