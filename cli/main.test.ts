/** What ssh-add says of itself, and what it does when the agent hangs up. */
import { createServer } from "node:net";
import test from "ava";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { runOurs } from "./test-agent.ts";
import { usage } from "./usage.ts";

test("help, version and completion need no agent", async (t) => {
  const workspace = makeWorkspace(t);
  const help = await runOurs(workspace, ["-l", "--help"]);
  t.true(help.stdout.startsWith(`${usage}\n\nOptions:\n`));
  t.regex(help.stdout, /--cert-for-card /);
  t.like(help, { stderr: "", status: 0 });
  const version = await runOurs(workspace, ["--version"]);
  t.regex(version.stdout, /^cardagent \d+\.\d+\.\d+\n$/);
  const completion = await runOurs(workspace, ["--completion"], { env: { SHELL: "/bin/bash" } });
  t.regex(completion.stdout, /complete .* ssh-add\n/);
  t.is((await workspace.run("bash", ["-n"], { input: completion.stdout })).status, 0);
});

test("the shell completes options", async (t) => {
  const workspace = makeWorkspace(t);
  const { stdout: script } = await runOurs(workspace, ["--completion"]);
  workspace.write("script", script);
  const { sshAdd } = await import("../fixtures/programs.ts");
  const ask = [
    `ssh-add() { ${sshAdd} "$@"; }`,
    "source ./script",
    "COMP_WORDS=(ssh-add --li) COMP_CWORD=1",
    "_ssh-add_yargs_completions",
    'printf "%s " "$COMPREPLY"',
  ];
  const { stdout } = await workspace.run("bash", ["-c", ask.join("\n")]);
  t.is(stdout, "--list-providers ");
});

test("an agent that hangs up is told of", async (t) => {
  const workspace = makeWorkspace(t);
  const path = workspace.path("agent.sock");
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.once("data", () => socket.destroy());
  });
  await new Promise<void>((resolve) => server.listen(path, resolve));
  t.teardown(() => {
    server.close();
  });
  workspace.env.SSH_AUTH_SOCK = path;
  const broken = "communication with agent failed";
  const calls: [string[], string][] = [
    [["-l"], `error fetching identities: ${broken}\n`],
    [["-D"], "Failed to remove all identities.\n"],
    [["-e", "LIB"], `Could not remove card "LIB": ${broken}\n`],
    [["-qs", "LIB"], `Enter passphrase for PKCS#11: Could not add card "LIB": ${broken}\n`],
    [["--list-providers"], `Could not list providers: ${broken}\n`],
    [["-Q"], `unable to query supported extensions: ${broken}\r\n`],
  ];
  for (const [args, stderr] of calls) {
    t.deepEqual(await runOurs(workspace, args), { stdout: "", stderr, status: 1, signal: null });
  }
});
