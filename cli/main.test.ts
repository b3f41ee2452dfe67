/** Help, version, and an agent that closes the connection. */
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import test from "ava";
import { projectRoot, scripts } from "../fixtures/programs.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { usage } from "./options.ts";
import { runOurs, startRecorder } from "./test-agent.ts";

test("help and version need no agent", async (t) => {
  const workspace = makeWorkspace(t);
  const help = await runOurs(workspace, ["-l", "--help"]);
  t.true(help.stdout.startsWith(`${usage}\n\nOptions:\n`));
  t.regex(help.stdout, /--cert-for-card /);
  t.like(help, { stderr: "", status: 0 });
  const version = await runOurs(workspace, ["--version"]);
  t.regex(version.stdout, /^cardagent \d+\.\d+\.\d+\n$/);
});

test("the help names each option of the manual page, in its order", async (t) => {
  const { stdout } = await runOurs(makeWorkspace(t), ["--help"]);
  const described = stdout.slice(stdout.indexOf("Options:")).matchAll(/^ +(--?[A-Za-z-]+) /gm);
  const manual = readFileSync(join(projectRoot, "man", "ssh-add.1"), "utf8");
  const options = manual.matchAll(/^\.It Fl (\\-)?([A-Za-z-]+)/gm);
  t.deepEqual(
    Array.from(described, ([, option]) => option),
    Array.from(options, ([, isLong, name]) => (isLong ? `--${name}` : `-${name}`)),
  );
  t.notRegex(stdout, /\[(boolean|string)\]/);
});

test("-l and -L load no packages", async (t) => {
  const workspace = makeWorkspace(t);
  // There is no node_modules in the parent directories.
  const alone = workspace.write("ssh-add", readFileSync(join(scripts, "ssh-add")), 0o755);
  await startRecorder(t, workspace, () => ({ type: "identities", identities: [] }));
  const listed = await workspace.run(alone, ["-l"]);
  t.like(listed, { stdout: "The agent has no identities.\n", stderr: "", status: 1 });
  t.like(await workspace.run(alone, ["-L"]), { stderr: "", status: 1 });
});

test("an agent that closes the connection is reported", async (t) => {
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
  ];
  for (const [args, stderr] of calls) {
    t.deepEqual(await runOurs(workspace, args), { stdout: "", stderr, status: 1, signal: null });
  }
  const stderr = `unable to query supported extensions: ${broken}\r\n`;
  t.like(await runOurs(workspace, ["-Q"]), { stdout: "", stderr, status: 255 });
});
