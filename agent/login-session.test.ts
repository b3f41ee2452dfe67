/** An agent in a login session: socket activation, services, and stale sockets of killed agents. */

import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, symlinkSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { join } from "node:path";
import test from "ava";
import { eventually } from "../fixtures/eventually.ts";
import { projectRoot, sshAgent } from "../fixtures/programs.ts";
import { sshKeygen, systemSshAdd } from "../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../fixtures/workspace.ts";
import { descriptorOf } from "./host/descriptor.ts";
import { hostPrefix } from "./host/socket-path.ts";
import { start as startAgent } from "./test-program.ts";

function listen(path: string): Promise<Server> {
  const server = createServer();
  return new Promise((resolve) => server.listen(path, () => resolve(server)));
}

/** Makes a stale socket in ~/.ssh/agent. */
async function makeStale(workspace: Workspace, name: string): Promise<string> {
  const folder = join(workspace.home, ".ssh", "agent");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const path = join(folder, name);
  const server = await listen(`${path}.b`);
  renameSync(`${path}.b`, path);
  await new Promise((resolve) => server.close(resolve));
  return path;
}

interface Activated {
  readonly pid: number;
  output(): string;
  readonly status: Promise<number | null>;
}

/** Installs the program as npm does for one user. */
function install(workspace: Workspace): void {
  const folder = join(workspace.home, ".local", "bin");
  mkdirSync(folder, { recursive: true });
  symlinkSync(sshAgent, join(folder, "ssh-agent"));
}

/** The shell command by which the tests start an agent as systemd does. */
const service = `sh -c 'LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=x exec "$AGENT" -D'`;

/** Runs a shell's command line with a listening socket at `path` as descriptor 3, as systemd has it. */
async function activate(workspace: Workspace, path: string, line: string): Promise<Activated> {
  const server = await listen(`${path}.b`);
  renameSync(`${path}.b`, path);
  const child = spawn("sh", ["-c", line], {
    cwd: workspace.root,
    env: { ...workspace.env, AGENT: sshAgent },
    stdio: ["ignore", "pipe", "pipe", descriptorOf(server)],
  });
  // This process must not accept connections itself.
  server.close();
  const pid = child.pid ?? 0;
  workspace.adopt(pid);
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk) => {
      output += chunk;
    });
  }
  const status = new Promise<number | null>((resolve) => child.on("close", resolve));
  return { pid, output: () => output, status };
}

test("an agent serves the socket that systemd passes, and leaves it when it ends", async (t) => {
  const workspace = makeWorkspace(t);
  const path = workspace.path("bus");
  const key = workspace.path("key");
  await workspace.expect(sshKeygen(), ["-q", "-t", "ed25519", "-N", "", "-f", key]);
  const env = { SSH_AUTH_SOCK: path };
  const agent = await activate(workspace, path, `exec ${service}`);
  t.is((await workspace.run(systemSshAdd(), [key], { env })).status, 0);
  t.is((await workspace.run(systemSshAdd(), ["-l"], { env })).status, 0);
  t.is(readFileSync(`/proc/${agent.pid}/comm`, "utf8"), "ssh-agent\n");
  t.false(existsSync(join(workspace.home, ".ssh", "agent")));
  process.kill(agent.pid, "SIGTERM");
  t.is(await agent.status, 0);
  t.is(agent.output(), "");
  t.true(statSync(path).isSocket());
});

test("an agent that executes itself again without Node.js's variables keeps systemd's socket", async (t) => {
  const workspace = makeWorkspace(t);
  const path = workspace.path("bus");
  const agent = await activate(workspace, path, `export NODE_DEBUG=net; exec ${service}`);
  const { stdout } = await workspace.run(systemSshAdd(), ["-l"], { env: { SSH_AUTH_SOCK: path } });
  t.is(stdout, "The agent has no identities.\n");
  t.is(agent.output(), "");
});

test("the next agent serves the clients that wait at systemd's socket", async (t) => {
  const workspace = makeWorkspace(t);
  const path = workspace.path("bus");
  const line = `${service} & echo $!; wait; read -r _ < go; exec ${service}`;
  await workspace.expect("mkfifo", ["go"]);
  const manager = await activate(workspace, path, line);
  const env = { SSH_AUTH_SOCK: path };
  const list = () => workspace.run(systemSshAdd(), ["-l"], { env });
  t.is((await list()).stdout, "The agent has no identities.\n");
  t.true(await eventually(() => manager.output() !== ""));
  process.kill(Number(manager.output()), "SIGTERM");
  const asking = list();
  workspace.write("go", "\n");
  t.is((await asking).stdout, "The agent has no identities.\n");
});

for (const [line, message] of [
  ["LISTEN_PID=1 LISTEN_FDS=1", /^bad LISTEN_PID: 1 vs pid \d+\n$/],
  ["LISTEN_PID=$$ LISTEN_FDS=7", /^unexpected LISTEN_FDS contents \(want "1" got "7"\)\n$/],
  ["exec 3<&-; LISTEN_PID=$$ LISTEN_FDS=1", /^LISTEN_FDS set but fd 3 unavailable\n$/],
] as const) {
  test(`an agent is not started by ${line}`, async (t) => {
    const workspace = makeWorkspace(t);
    const agent = await activate(workspace, workspace.path("bus"), `${line} exec "$AGENT" -D`);
    t.is(await agent.status, 255);
    t.regex(agent.output(), message);
  });
}

test("only an agent in the foreground without -a uses systemd's socket", async (t) => {
  const workspace = makeWorkspace(t);
  const env = { LISTEN_PID: "1", LISTEN_FDS: "1" };
  const output = await workspace.expect(sshAgent, [], { env });
  workspace.adopt(Number(/SSH_AGENT_PID=(\d+)/.exec(output)?.[1]));
  const socket = workspace.path("s");
  const child = workspace.spawn(sshAgent, ["-D", "-a", socket], { env });
  t.true(await eventually(() => existsSync(socket)));
  t.is(child.exitCode, null);
});

test("an agent that starts removes this host's stale sockets, and no others", async (t) => {
  const workspace = makeWorkspace(t);
  const [ours, elsewhere] = [`${hostPrefix()}agent.old`, "s.otherhost.agent.old"] as const;
  for (const args of [[], ["-D"], ["sleep", "60"]]) {
    const stale = await makeStale(workspace, ours);
    const other = await makeStale(workspace, elsewhere);
    workspace.spawn(sshAgent, args);
    t.true(await eventually(() => !existsSync(stale)));
    t.true(existsSync(other));
  }
});

test("an agent that is killed leaves a socket that the next one removes", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket, pid } = await startAgent(workspace);
  process.kill(pid, "SIGKILL");
  const next = await startAgent(workspace);
  t.true(await eventually(() => !existsSync(socket)));
  t.true(existsSync(next.socket));
});

test("-u removes this host's stale sockets, -uu all; sockets of running agents stay", async (t) => {
  const workspace = makeWorkspace(t);
  const stale = await makeStale(workspace, `${hostPrefix()}sshd.old`);
  const elsewhere = await makeStale(workspace, "s.otherhost.agent.old");
  const nameless = await makeStale(workspace, "mine");
  const live = join(workspace.home, ".ssh", "agent", `${hostPrefix()}agent.live`);
  const server = await listen(live);
  t.teardown(() => server.close());
  const said = "Deleted stale agent sockets in ~/.ssh/agent\n";
  t.is(await workspace.expect(sshAgent, ["-u"]), said);
  t.deepEqual([stale, elsewhere, nameless].map(existsSync), [false, true, true]);
  t.is(await workspace.expect(sshAgent, ["-uu"]), said);
  t.deepEqual([elsewhere, nameless, live].map(existsSync), [false, false, true]);
});

test("-u does nothing without a folder, and fails if it cannot read it", async (t) => {
  const workspace = makeWorkspace(t);
  t.is((await workspace.run(sshAgent, ["-u"])).status, 0);
  workspace.write("home/.ssh/agent", "a file");
  const { stdout, stderr, status } = await workspace.run(sshAgent, ["-u"]);
  t.deepEqual([stdout, status], ["", 1]);
  t.regex(stderr, /^opendir ".*\/\.ssh\/agent": Not a directory\n$/);
});

test("with -U, -T or -a stale sockets stay", async (t) => {
  const workspace = makeWorkspace(t);
  const stale = await makeStale(workspace, `${hostPrefix()}agent.old`);
  for (const args of [["-U"], ["-T"], ["-a", workspace.path("s")]]) {
    const child = workspace.spawn(sshAgent, [...args, "-d"]);
    let log = "";
    child.stderr?.on("data", (chunk) => {
      log += chunk;
    });
    const head = await new Promise<Buffer>((resolve) => child.stdout?.once("data", resolve));
    const SSH_AUTH_SOCK = /SOCK=(.*?);/.exec(head.toString())?.[1];
    t.is(
      (await workspace.run(systemSshAdd(), ["-x"], { env: { SSH_AUTH_SOCK }, input: "a\na\n" }))
        .status,
      0,
    );
    // Longer than an agent takes to remove it.
    await new Promise((resolve) => setTimeout(resolve, 300));
    t.true(existsSync(stale), args.join(" "));
    t.notRegex(log, /stale/);
  }
});

test("the systemd service starts the installed agent with the configured options", async (t) => {
  const workspace = makeWorkspace(t);
  const unit = readFileSync(join(projectRoot, "systemd", "ssh-agent.service"), "utf8");
  const [, quoted = ""] = /^ExecStart=\/bin\/sh -c '(.*)'$/m.exec(unit) ?? [];
  // As systemd reads it: specifiers are replaced, and a doubled dollar is one.
  const line = quoted.replaceAll("%h", workspace.home).replaceAll("$$", "$");
  install(workspace);
  const path = workspace.path("bus");
  const start = (options: string) =>
    activate(
      workspace,
      path,
      `export SSH_AGENT_OPTIONS='${options}' LISTEN_PID=$$ LISTEN_FDS=1; ${line}`,
    );
  const refused = await start("-t 1h -O bogus");
  t.is(await refused.status, 255);
  t.is(refused.output(), "Unknown -O option\r\n");
  const agent = await start("-t 1h -O allow-remote-pkcs11");
  const listed = await workspace.run(systemSshAdd(), ["-l"], { env: { SSH_AUTH_SOCK: path } });
  t.is(listed.stdout, "The agent has no identities.\n");
  process.kill(agent.pid, "SIGTERM");
  t.is(await agent.status, 0);
});

test("the launchd job starts the installed agent, also after one was killed", async (t) => {
  const workspace = makeWorkspace(t);
  const plist = readFileSync(join(projectRoot, "launchd", "cardagent.ssh-agent.plist"), "utf8");
  const [, script = ""] = /<string>-c<\/string>\s*<string>(.*?)<\/string>/s.exec(plist) ?? [];
  install(workspace);
  workspace.write("home/.local/bin/launchctl", '#!/bin/sh\necho "$@" >> "$HOME/told"\n', 0o755);
  const socket = join(workspace.home, ".ssh", "agent.sock");
  for (const _ of [1, 2]) {
    const child = workspace.spawn("/bin/sh", ["-c", script]);
    // Wait for its output: before that, the socket may be the previous agent's.
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    const listed = await workspace.run(systemSshAdd(), ["-l"], { env: { SSH_AUTH_SOCK: socket } });
    t.is(listed.stdout, "The agent has no identities.\n");
    const ended = new Promise((resolve) => child.on("exit", resolve));
    child.kill("SIGKILL");
    await ended;
  }
  const told = readFileSync(join(workspace.home, "told"), "utf8");
  t.is(told, `setenv SSH_AUTH_SOCK ${socket}\n`.repeat(2));
});
