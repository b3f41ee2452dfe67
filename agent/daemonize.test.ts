/** An agent that fails or is killed while it starts: the user is told, and no file is left. */
import { cpSync, existsSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import test from "ava";
import { eventually } from "../fixtures/eventually.ts";
import { isRunning } from "../fixtures/processes.ts";
import { projectRoot, scripts, sshAgent } from "../fixtures/programs.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace, type RunResult, type Workspace } from "../fixtures/workspace.ts";
import { add, start } from "./test-program.ts";

/**
 * A copy of the script that runs other code first.
 * @param code in JavaScript
 */
function copyScript(workspace: Workspace, code: string): string {
  cpSync(join(projectRoot, "dist", "lib"), workspace.path("dist", "lib"), { recursive: true });
  const [first, ...rest] = readFileSync(join(scripts, "ssh-agent"), "utf8").split("\n");
  workspace.write("dist/bin/package.json", '{ "type": "commonjs" }');
  symlinkSync(join(projectRoot, "node_modules"), workspace.path("dist", "node_modules"));
  return workspace.write("dist/bin/ssh-agent", [first, code, ...rest].join("\n"), 0o700);
}

/** A copy of the program without the packages beside its folder. */
function copyProgram(workspace: Workspace): string {
  cpSync(dirname(sshAgent), workspace.path("copy", "bin"), { recursive: true });
  // A release's ssh-agent starts the executable of that name in lib.
  cpSync(join(dirname(sshAgent), "..", "lib"), workspace.path("copy", "lib"), {
    recursive: true,
    filter: (path) => !["ssh-add", "pkcs11-child", "list"].includes(basename(path)),
  });
  return workspace.path("copy", "bin", "ssh-agent");
}

/** The files and folders in the home and the folder for temporary files, except for `~/.ssh`. */
function leftIn(workspace: Workspace): string[] {
  const all = [workspace.home, workspace.path("tmp")].flatMap((folder) =>
    readdirSync(folder, { recursive: true }).map(String),
  );
  return all.filter((name) => ![".ssh", ".ssh/agent"].includes(name));
}

const ways: Readonly<Record<string, readonly string[]>> = {
  "in the background": [],
  "for a command": ["echo", "the command runs"],
  "in the foreground": ["-D"],
  "with -T": ["-T"],
};

/** Whether standard error is one or two lines, with no stack or message of Node.js. */
function isSentence({ stderr }: RunResult): boolean {
  return /^[^\n]+\n([^\n]+\n)?$/.test(stderr) && !/node:|\n\s+at |uv_|Error:|Require/.test(stderr);
}

for (const [way, args] of Object.entries(ways)) {
  test(`without koffi's add-on no agent starts ${way}`, async (t) => {
    const workspace = makeWorkspace(t);
    const result = await workspace.run(copyProgram(workspace), [...args]);
    t.regex(result.stderr, /^Cannot load koffi's native add-on\. Reinstall /);
    t.true(isSentence(result));
    t.deepEqual([result.stdout, result.status], ["", 1]);
    t.deepEqual(leftIn(workspace), []);
  });

  test(`an exception before an agent listens ends it ${way}, with its message`, async (t) => {
    const workspace = makeWorkspace(t);
    const code = `require("net").Server.prototype.listen = () => { throw new TypeError("broken\\nat x"); };`;
    const result = await workspace.run(copyScript(workspace, code), [...args]);
    t.true(isSentence(result), result.stderr);
    t.deepEqual([result.stdout, result.status], ["", 1]);
    t.deepEqual(leftIn(workspace), []);
  });
}

/** Code that kills the agent in the background before it sends a report. */
const killedAt = (report: string) => `
  if (process.argv[2]?.startsWith("--serve=")) {
    const fs = require("fs"), { writeSync } = fs;
    fs.writeSync = (to, text) => {
      if (to === 3 && text.includes('"${report}"')) process.kill(process.pid, "SIGKILL");
      return writeSync(to, text);
    };
  }`;

for (const [moment, code] of Object.entries({
  "at once": `if (process.argv[2]?.startsWith("--serve=")) process.kill(process.pid, "SIGKILL");`,
  "before it listens": killedAt("trying"),
  "when it listens": killedAt("serving"),
})) {
  for (const args of [[], ["-T"], ["-a", "here"], ["echo", "the command runs"]]) {
    test(`the user is told of an agent killed ${moment}: ssh-agent ${args.join(" ")}`, async (t) => {
      const workspace = makeWorkspace(t);
      const result = await workspace.run(copyScript(workspace, code), args);
      t.is(result.stderr, "The agent's process was ended by SIGKILL before it served.\n");
      t.deepEqual([result.stdout, result.status], ["", 1]);
      t.deepEqual(leftIn(workspace), []);
      t.deepEqual(readdirSync(workspace.root).sort(), ["dist", "home", "tmp"]);
    });
  }
}

test("the socket of another agent stays when an agent is killed while it starts", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket } = await start(workspace, ["-a", workspace.path("agent.sock")]);
  const result = await workspace.run(copyScript(workspace, killedAt("trying")), ["-a", socket]);
  t.is(result.status, 1);
  t.is((await add(workspace, socket, ["-l"])).stdout, "The agent has no identities.\n");
});

test("an agent whose starting program was killed ends by itself", async (t) => {
  const workspace = makeWorkspace(t);
  const pidFile = workspace.path("pid");
  const code = `
    const fs = require("fs"), { writeSync } = fs;
    fs.writeSync = (to, text) => {
      if (to === 3 && text.includes("serving")) {
        fs.writeFileSync("${pidFile}", String(process.pid));
        process.kill(process.ppid, "SIGKILL");
        while (process.ppid === starter);
      }
      return writeSync(to, text);
    };
    const starter = process.ppid;`;
  const result = await workspace.run(copyScript(workspace, code), []);
  t.is(result.signal, "SIGKILL");
  const pid = Number(readFileSync(pidFile, "utf8"));
  workspace.adopt(pid);
  t.true(await eventually(() => !isRunning(pid)));
  t.deepEqual(leftIn(workspace), []);
});

test("an agent whose process cannot be started says so", async (t) => {
  const workspace = makeWorkspace(t);
  // As Node.js does when there are no descriptors left.
  const code = `require("child_process").spawn = () => {
    const child = new (require("events"))();
    process.nextTick(() => child.emit("error", new Error("spawn EMFILE")));
    return child;
  };`;
  const result = await workspace.run(copyScript(workspace, code), []);
  t.is(result.stderr, "Cannot start the agent's process. Check ulimit -u and ulimit -n.\n");
  t.deepEqual([result.stdout, result.status], ["", 1]);
});

test("an agent whose output cannot be printed ends, and says why", async (t) => {
  const workspace = makeWorkspace(t);
  for (const args of ["", "-D"]) {
    const line = `"$0" ${args} >/dev/full`;
    const result = await workspace.run("sh", ["-c", line, sshAgent]);
    t.regex(result.stderr, /No space left on device\n$/);
    t.true(isSentence(result), result.stderr);
    t.is(result.status, 1);
    t.deepEqual(leftIn(workspace), []);
  }
});

test("a full disk is an error, and no other candidate is tried", async (t) => {
  const workspace = makeWorkspace(t);
  if (process.getuid?.() !== 0) return; // only root can make a disk
  const mount = `mount -t tmpfs -o nr_inodes=2 none "$HOME" && mkdir "$HOME/.ssh"`;
  for (const args of ["", "-D", "-T", `-a "$HOME/.ssh/socket"`]) {
    const line = `${mount} && TMPDIR=$HOME "$0" ${args}`;
    const result = await workspace.run("unshare", ["-m", "sh", "-c", line, sshAgent]);
    t.regex(result.stderr, /No space left on device\r?\n/, args);
    t.true(isSentence(result), result.stderr);
    t.deepEqual([result.stdout, result.status], ["", 1]);
  }
});

test("an exception in an agent in the foreground is logged, and the agent keeps serving", async (t) => {
  const workspace = makeWorkspace(t);
  const code = `process.on("SIGUSR2", () => { throw new RangeError("a fault"); });`;
  const agent = await startAgent(workspace, { program: copyScript(workspace, code) });
  t.is((await add(workspace, agent.socket, ["-l"])).status, 1);
  process.kill(agent.pid, "SIGUSR2");
  t.true(await eventually(() => agent.log() !== ""));
  t.is(agent.log(), "fault: RangeError: a fault\n");
  t.is((await add(workspace, agent.socket, ["-l"])).stdout, "The agent has no identities.\n");
});

for (const [what, env] of Object.entries({
  "no home": { HOME: undefined },
  "a home that is not there": { HOME: "/nonexistent" },
  "a home that is no folder": { HOME: "/dev/null" },
  "a home with a name that is too long": { HOME: "LONG" },
  "HOME=/": { HOME: "/" },
})) {
  test(`with ${what} the socket is in the folder for temporary files`, async (t) => {
    const workspace = makeWorkspace(t);
    const HOME = env.HOME === "LONG" ? workspace.path("long".repeat(30)) : env.HOME;
    // As root, which may write everywhere, run it as a user without an entry in passwd.
    const isRoot = process.getuid?.() === 0;
    const someone = ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"];
    const command = [...(isRoot && HOME?.startsWith("/tmp") !== true ? someone : []), sshAgent];
    const TMPDIR = "/tmp";
    const script = 'eval "$("$@")"; ssh-add -l; echo "$SSH_AUTH_SOCK $SSH_AGENT_PID"; ssh-agent -k';
    const PATH = `${dirname(sshAgent)}:${workspace.env.PATH}`;
    const { stdout, stderr } = await workspace.run("sh", ["-c", script, "sh", ...command], {
      env: { HOME, TMPDIR, PATH },
    });
    t.is(stderr, "");
    const [, path = "", pid = ""] = /^(\/tmp\/ssh-.*) (\d+)$/m.exec(stdout) ?? [];
    t.regex(stdout, /^The agent has no identities\.$/m);
    workspace.adopt(Number(pid));
    t.true(await eventually(() => !isRunning(Number(pid))));
    t.false(existsSync(dirname(path)));
  });
}

test("a relative path works in a folder with a path too long for a socket", async (t) => {
  const workspace = makeWorkspace(t);
  const folder = dirname(workspace.write(`${"deep/".repeat(30)}file`, ""));
  const { stdout } = await workspace.run(sshAgent, ["-a", "s"], { cwd: folder });
  const pid = Number(/SSH_AGENT_PID=(\d+)/.exec(stdout)?.[1]);
  workspace.adopt(pid);
  t.true(existsSync(join(folder, "s")));
  process.kill(pid, "SIGTERM");
  t.true(await eventually(() => !isRunning(pid)));
  t.deepEqual(readdirSync(folder), ["file"]);
});

test("in a deleted folder an agent starts, or says why it cannot", async (t) => {
  const workspace = makeWorkspace(t);
  const line = `mkdir gone && cd gone && rmdir ../gone && "$0" "$@"`;
  const { stdout } = await workspace.run("sh", ["-c", line, sshAgent]);
  workspace.adopt(Number(/SSH_AGENT_PID=(\d+)/.exec(stdout)?.[1]));
  t.regex(stdout, /^SSH_AUTH_SOCK=/);
  const result = await workspace.run("sh", ["-c", line, sshAgent, "-a", "s"]);
  t.true(isSentence(result), result.stderr);
  t.is(result.status, 1);
});
