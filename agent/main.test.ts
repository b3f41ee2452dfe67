import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import test from "ava";
import { eventually } from "../fixtures/eventually.ts";
import { isRunning } from "../fixtures/processes.ts";
import { scripts, sshAgent } from "../fixtures/programs.ts";
import { sshKeygen, systemSshAdd, systemSshAgent } from "../fixtures/system-programs.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { add, start } from "./test-program.ts";

test("an agent in the background serves as soon as it is started, on a socket with mode 0600", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket, pid } = await start(workspace);
  t.regex(socket, new RegExp(`^${workspace.home}/\\.ssh/agent/s\\.\\w+\\.agent\\.\\w+$`));
  t.is(statSync(socket).mode & 0o777, 0o600);
  t.is(statSync(dirname(socket)).mode & 0o777, 0o700);
  const listed = await add(workspace, socket, ["-l"]);
  t.is(listed.stdout, "The agent has no identities.\n");
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  t.regex(status, /^Name:\s+ssh-agent$/m);
  t.regex(readFileSync(`/proc/${pid}/limits`, "utf8"), /^Max core file size\s+0\s+0/m);
});

test("-T puts the socket into a folder of its own, which is removed with it", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket, pid } = await start(workspace, ["-T"]);
  t.regex(socket, new RegExp(`^${workspace.path("tmp")}/ssh-\\w+/agent\\.${process.pid}$`));
  t.is(statSync(dirname(socket)).mode & 0o777, 0o700);
  await add(workspace, socket, ["-l"]);
  process.kill(pid, "SIGTERM");
  t.true(await eventually(() => !existsSync(dirname(socket))));
  t.deepEqual(readdirSync(workspace.path("tmp")), []);
});

for (const signal of ["SIGTERM", "SIGHUP"] as const) {
  test(`${signal} ends the agent and removes its socket`, async (t) => {
    const workspace = makeWorkspace(t);
    const { socket, pid } = await start(workspace, ["-a", workspace.path("agent.sock")]);
    t.is(socket, workspace.path("agent.sock"));
    await add(workspace, socket, ["-l"]);
    process.kill(pid, signal);
    t.true(await eventually(() => !isRunning(pid)));
    t.false(existsSync(socket));
  });
}

test("an agent in the background ignores SIGINT, as OpenSSH's does", async (t) => {
  const workspace = makeWorkspace(t);
  for (const program of [systemSshAgent(), sshAgent]) {
    const { socket, pid } = await start(workspace, [], program);
    await add(workspace, socket, ["-l"]);
    process.kill(pid, "SIGINT");
    for (let again = 0; again < 5; again++) {
      t.is((await add(workspace, socket, ["-l"])).status, 1, program);
    }
  }
});

test("SIGUSR1 removes all identities, and the agent keeps serving", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket, pid } = await start(workspace);
  const key = workspace.path("key");
  await workspace.expect(sshKeygen(), ["-q", "-t", "ed25519", "-N", "", "-f", key]);
  t.is((await add(workspace, socket, [key])).status, 0);
  t.is((await add(workspace, socket, ["-l"])).status, 0);
  process.kill(pid, "SIGUSR1");
  let listed = await add(workspace, socket, ["-l"]);
  while (listed.status === 0) listed = await add(workspace, socket, ["-l"]);
  t.is(listed.stdout, "The agent has no identities.\n");
});

test("a path of -a is printed as given, and removed whatever the working directory is", async (t) => {
  const workspace = makeWorkspace(t);
  for (const program of [systemSshAgent(), sshAgent]) {
    const { socket, pid } = await start(workspace, ["-a", "tmp/../here.sock"], program);
    t.is(socket, "tmp/../here.sock");
    t.is((await add(workspace, socket, ["-l"])).status, 1);
    process.kill(pid, "SIGTERM");
    t.true(await eventually(() => !isRunning(pid)));
    // OpenSSH's agent looks for it in the root folder.
    t.is(existsSync(workspace.path("here.sock")), program === systemSshAgent());
    rmSync(workspace.path("here.sock"), { force: true });
  }
});

test("the output is for csh if SHELL or -c says so", async (t) => {
  const workspace = makeWorkspace(t);
  const pattern =
    /^setenv SSH_AUTH_SOCK (\S+);\nsetenv SSH_AGENT_PID (\d+);\necho Agent pid \2;\n$/;
  for (const [args, SHELL] of [
    [["-c"], "/bin/bash"],
    [[], "/bin/tcsh"],
  ] as const) {
    const output = await workspace.expect(sshAgent, [...args], { env: { SHELL } });
    t.regex(output, pattern);
    workspace.adopt(Number(pattern.exec(output)?.[2]));
  }
  const { pid } = await start(workspace, ["-s"]);
  const SSH_AGENT_PID = String(pid);
  const env = { SHELL: "/bin/csh", SSH_AGENT_PID };
  const unset = await workspace.expect(sshAgent, ["-k"], { env });
  t.is(unset, `unsetenv SSH_AUTH_SOCK;\nunsetenv SSH_AGENT_PID;\necho Agent pid ${pid} killed;\n`);
});

test("an invalid command line is shown byte for byte as OpenSSH shows it", async (t) => {
  const workspace = makeWorkspace(t);
  for (const args of [["-é"], ["-cZ"], ["-E", "é\\"], ["-O", "é"], ["-t", "é"]]) {
    const theirs = await workspace.run(systemSshAgent(), args);
    const ours = await workspace.run(sshAgent, args);
    const firstLine = (text: string) => text.split("\n")[0];
    t.is(firstLine(ours.stderr), firstLine(theirs.stderr), args.join(" "));
    t.is(ours.status, theirs.status, args.join(" "));
  }
});

test("a command runs with the agent, which ends with it; its exit status is the program's", async (t) => {
  const workspace = makeWorkspace(t);
  const script = `${systemSshAdd()} -l; echo "$SSH_AUTH_SOCK $SSH_AGENT_PID $1"; exit 7`;
  const { stdout, status } = await workspace.run(sshAgent, ["sh", "-c", script, "sh", "-x"]);
  t.is(status, 7);
  const [, socket = "", pid = ""] =
    /^The agent has no identities\.\n(\S+) (\d+) -x\n$/.exec(stdout) ?? [];
  t.not(pid, "");
  workspace.adopt(Number(pid));
  t.true(await eventually(() => !isRunning(Number(pid))));
  t.false(existsSync(socket));
});

test("a command replaces the process, and has its standard input and output", async (t) => {
  const workspace = makeWorkspace(t);
  const child = workspace.spawn(sshAgent, ["sh", "-c", "echo $$; cat; kill -TERM $$"]);
  let stdout = "";
  child.stdout?.on("data", (chunk) => {
    stdout += chunk;
  });
  child.stdin?.end("from standard input\n");
  const [status, signal] = await new Promise<[number | null, string | null]>((resolve) => {
    child.on("close", (...how) => resolve(how));
  });
  t.is(stdout, `${child.pid}\nfrom standard input\n`);
  t.deepEqual([status, signal], [null, "SIGTERM"]);
});

test("a command has the descriptors, limits and umask that the agent was started with", async (t) => {
  const workspace = makeWorkspace(t);
  workspace.write("input", "from descriptor 7\n");
  const command = "ulimit -Sn; ulimit -Hn; ulimit -c; umask; cat <&7; ls /proc/self/fd | wc -l";
  const line = `ulimit -c 100; ulimit -Sn 500; umask 027; exec 7<input; "$0" sh -c '${command}'; exit $?`;
  const theirs = await workspace.expect("sh", ["-c", line, systemSshAgent()]);
  t.regex(theirs, /^500\n\d+\n100\n0027\nfrom descriptor 7\n\d+\n$/);
  t.is(await workspace.expect("sh", ["-c", line, sshAgent]), theirs);
});

test("a missing command is reported as OpenSSH does, and nothing is left", async (t) => {
  const workspace = makeWorkspace(t);
  const socket = workspace.path("s");
  const ours = await workspace.run(sshAgent, ["-a", socket, "no-such-command"]);
  t.deepEqual([ours.stderr, ours.status], ["no-such-command: No such file or directory\n", 1]);
  t.false(existsSync(socket));
});

test("a path that cannot be bound is reported as OpenSSH does", async (t) => {
  const workspace = makeWorkspace(t);
  const taken = workspace.write("taken", "somebody's file");
  const long = `/tmp/${"x".repeat(110)}`;
  for (const path of [taken, "taken", "/nowhere/agent.sock", "nowhere/../agent.sock", long]) {
    const theirs = await workspace.run(systemSshAgent(), ["-a", path]);
    const ours = await workspace.run(sshAgent, ["-a", path]);
    t.deepEqual(ours, theirs);
  }
  t.is(readFileSync(taken, "utf8"), "somebody's file");
  t.deepEqual(readdirSync(workspace.root).sort(), ["home", "taken", "tmp"]);
});

test("-D serves in the foreground, -d also logs, and neither logs a secret", async (t) => {
  const workspace = makeWorkspace(t);
  const socket = workspace.path("s");
  const child = workspace.spawn(sshAgent, ["-d", "-a", socket]);
  let log = "";
  child.stderr?.on("data", (chunk) => {
    log += chunk;
  });
  const ended = new Promise((resolve) => child.on("exit", resolve));
  const head = await new Promise<Buffer>((resolve) => child.stdout?.once("data", resolve));
  const pid = child.pid;
  t.is(head.toString(), `SSH_AUTH_SOCK=${socket}; export SSH_AUTH_SOCK;\necho Agent pid ${pid};\n`);
  const locked = await workspace.run(systemSshAdd(), ["-x"], {
    env: { SSH_AUTH_SOCK: socket },
    input: "hunter2secret\nhunter2secret\n",
  });
  t.is(locked.status, 0);
  t.is((await add(workspace, socket, ["-D"])).status, 1);
  t.regex(log, /refused request 19: locked/);
  t.notRegex(log, /hunter2secret/);
  process.kill(Number(pid), "SIGINT");
  t.is(await ended, 2);
  t.false(existsSync(socket));
});

test("another user is not served, even where the socket is open to all", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket } = await start(workspace, ["-a", workspace.path("agent.sock")]);
  t.is((await add(workspace, socket, ["-l"])).status, 1);
  chmodSync(socket, 0o777);
  if (process.getuid?.() !== 0) return; // only root can be somebody else
  const nobody = ["--reuid=65534", "--clear-groups", systemSshAdd(), "-l"];
  const env = { SSH_AUTH_SOCK: socket };
  const refused = await workspace.run("setpriv", nobody, { env });
  // The connection is closed before or after ssh-add has sent its request, which may end it.
  const words = "error fetching identities: communication with agent failed\n";
  t.is(refused.stderr, refused.signal === "SIGPIPE" ? "" : words);
  t.is(refused.stdout, "");
  t.is((await add(workspace, socket, ["-l"])).stdout, "The agent has no identities.\n");
});

test("an agent that can create no socket says so, and what to type", async (t) => {
  const workspace = makeWorkspace(t);
  const env = { HOME: "/dev/null", TMPDIR: "/dev/null" };
  const { stdout, stderr, status } = await workspace.run(sshAgent, [], { env });
  t.is(
    stderr,
    "Cannot create the folder of the agent's socket: /dev/null/.ssh/agent: Not a directory\n" +
      "Choose another path with -a PATH, or with TMPDIR and -T.\n",
  );
  t.deepEqual([stdout, status], ["", 1]);
});

test("the agent's program does not contain the code that calls PKCS#11", (t) => {
  const contains = (path: string) =>
    readFileSync(join(scripts, path), "utf8").includes("C_GetFunctionList");
  t.true(contains("../lib/pkcs11-child.js"));
  t.false(contains("ssh-agent"));
});
