/** Hostile environments: ssh-add reports errors without Node.js's messages. */
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { scripts, sshAdd } from "../fixtures/programs.ts";
import { systemSshAdd } from "../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { makeKey, runOurs, startSystemAgent } from "./test-agent.ts";

const runtime =
  /uv_|node:|Node\.js|\bat .*:\d+:\d+|[A-Z]\w+Error|errno|Assertion|syscall|^E[A-Z]+:/m;

async function prepare(t: ExecutionContext): Promise<Workspace> {
  const workspace = makeWorkspace(t);
  await startSystemAgent(workspace);
  await makeKey(workspace, "key");
  await makeKey(workspace, "locked", { passphrase: "sesame" });
  await runOurs(workspace, ["key"]);
  return workspace;
}

/** Runs a shell script in which $ADD is the program. */
async function inShell(workspace: Workspace, script: string, env: Record<string, string> = {}) {
  return workspace.run("bash", ["-c", script], { env: { ADD: sshAdd, ...env } });
}

test("Node.js's environment variables are ignored", async (t) => {
  const workspace = await prepare(t);
  const { stdout } = await runOurs(workspace, ["-l"]);
  for (const env of [
    { NODE_OPTIONS: "--nonsense" },
    { NODE_OPTIONS: "--inspect=127.0.0.1:0" },
    { NODE_OPTIONS: "--require /nowhere" },
    { NODE_OPTIONS: "--max-old-space-size=1" },
    { NODE_EXTRA_CA_CERTS: "/nowhere" },
    { NODE_DEBUG: "net,stream,module" },
  ]) {
    const told = await runOurs(workspace, ["-l"], { env });
    t.deepEqual(told, { stdout, stderr: "", status: 0, signal: null }, JSON.stringify(env));
  }
});

test("failed writes are ignored as in OpenSSH", async (t) => {
  const workspace = await prepare(t);
  for (const script of [
    "$ADD -l >/dev/full; echo $?",
    "{ sleep 0.3; $ADD -l; echo $? >&2; } | :",
    "$ADD -l >&-; echo $?",
    "$ADD -L 2>&-; echo $?",
    "$ADD nofile 2>/dev/full; echo $?",
    "$ADD -l <&- >&- 2>&-; echo $?",
    "$ADD -d - <&-; echo $?",
  ]) {
    const ours = await inShell(workspace, script);
    t.deepEqual(ours, await inShell(workspace, script, { ADD: systemSshAdd() }), script);
  }
});

test("with a low descriptor limit it works or reports the limit", async (t) => {
  const workspace = await prepare(t);
  const askpass = workspace.write("askpass", "#!/bin/sh\necho sesame\n", 0o700);
  const env = { SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force" };
  for (const limit of [15, 20, 29, 30, 35]) {
    for (const args of ["-l", "key", "locked", "-s /usr/lib/none.so"]) {
      const script = `ulimit -n ${limit}; $ADD ${args}`;
      const { stderr, status } = await inShell(workspace, script, env);
      t.notRegex(stderr, runtime, script);
      t.true(status === 0 || status === 1, `${script}: ${status}`);
      // What bun does in a release works even so.
      if (limit < 30 && status === 1)
        t.regex(stderr, /^(ssh-add: too few files may be open at once; try: ulimit|Could not add)/);
    }
  }
});

test("a deleted working directory matters only for relative paths", async (t) => {
  const workspace = await prepare(t);
  for (const args of [
    "-l",
    "-l --json",
    "--help",
    "--list-providers",
    "key",
    "-d key",
    "-T key.pub",
    "-s ./none.so",
    "-h nowhere key",
  ]) {
    const { stderr } = await inShell(workspace, `mkdir gone; cd gone; rmdir ../gone; $ADD ${args}`);
    t.notRegex(stderr.replaceAll(/^.*getcwd.*\n/gm, ""), /uv_|ssh-add: /, args); // without the shell's message
  }
  const help = "mkdir gone; cd gone; rmdir ../gone; $ADD --help";
  const { stdout } = await inShell(workspace, help);
  t.is(stdout, (await runOurs(workspace, ["--help"])).stdout);
});

test("a missing home directory is reported like OpenSSH", async (t) => {
  const workspace = await prepare(t);
  const env = {
    HOME: undefined,
    LD_PRELOAD: "libnss_wrapper.so",
    NSS_WRAPPER_PASSWD: workspace.write("passwd", ""),
    NSS_WRAPPER_GROUP: workspace.write("group", ""),
  };
  const run = (...args: string[]) => workspace.run(sshAdd, args, { env });
  const uid = process.getuid?.();
  t.like(await run(), { stderr: `No user found with uid ${uid}\n`, status: 1 });
  t.like(await run("-d"), { stderr: `No user found with uid ${uid}\n`, status: 1 });
  const destination = await run("-h", "host", "key");
  t.like(destination, { stderr: `tilde_expand: No such uid ${uid}\r\n`, status: 255 });
  t.is((await run("-l")).status, 0);
});

test("an internal error is reported without a stack trace", async (t) => {
  const workspace = await prepare(t);
  const preload = workspace.write(
    "preload.cjs",
    `const { Socket } = require("node:net");
    Socket.prototype.write = function () { setImmediate(() => undefined.nothing); };`,
  );
  const args = ["-r", preload, join(scripts, "ssh-add"), "-l"];
  const { stderr, status } = await workspace.run(process.execPath, args);
  t.is(stderr, "ssh-add: internal error (TypeError)\n");
  t.is(status, 1);
});
