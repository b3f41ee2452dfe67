/** Prompts on a terminal, with an askpass program, and from standard input. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { sshAdd } from "../../fixtures/programs.ts";
import { python, script } from "../../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { makeKey, runOurs, startSystemAgent } from "../test-agent.ts";

async function prepare(t: ExecutionContext): Promise<Workspace> {
  const workspace = makeWorkspace(t);
  await startSystemAgent(workspace);
  await makeKey(workspace, "locked", { passphrase: "sesame" });
  return workspace;
}

/** A text to wait for, and what to type then. */
type Turn = readonly [shown: string, typed: string];

/** Runs a shell command on a terminal and types. @returns the terminal's output */
function onTerminal(
  workspace: Workspace,
  command: string,
  turns: readonly Turn[],
): Promise<string> {
  const child = workspace.spawn(script(), ["-qec", command, "/dev/null"]);
  let shown = "";
  let looked = 0;
  const left = [...turns];
  child.stdout?.on("data", (chunk: Buffer) => {
    shown += chunk.toString();
    const next = left[0];
    const found = next === undefined ? -1 : shown.indexOf(next[0], looked);
    if (next === undefined || found < 0) return;
    looked = found + next[0].length;
    left.shift();
    child.stdin?.write(next[1]);
  });
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`still waiting after:\n${shown}`)), 20_000);
    child.on("close", () => {
      clearTimeout(timer);
      resolve(shown);
    });
  });
}

/** A shell command that runs ssh-add, then prints its status and whether the terminal echoes. */
function thenShowState(args: string): string {
  return `${sshAdd} ${args}; echo "status $?"; stty -a | grep -o -- ' -\\?echo ' ; stty -a | grep -o -- ' -\\?icanon '`;
}

const restored = / {1}echo \r\n icanon \r\n$/;

test("a passphrase is asked for on the terminal without echo", async (t) => {
  const workspace = await prepare(t);
  const shown = await onTerminal(workspace, thenShowState("locked"), [
    ["locked: ", "wrong\r"],
    ["Bad passphrase, try again for locked: ", "sesame\r"],
  ]);
  t.true(
    shown.startsWith(
      "Enter passphrase for locked: \r\nBad passphrase, try again for locked: \r\nIdentity added: locked (comment of locked)\r\nstatus 0\r\n",
    ),
    shown,
  );
  t.regex(shown, restored);
});

test("line editing keys", async (t) => {
  const workspace = await prepare(t);
  const attempts = ["sesaXé\u007f\u0008me\r", "wrong\u0015sesame\r", "wrong\u0017sesame\n"];
  for (const typed of attempts) {
    const shown = await onTerminal(workspace, thenShowState("locked"), [["locked: ", typed]]);
    t.regex(shown, /Identity added: locked/);
  }
});

test("an empty line and the end of input skip the file", async (t) => {
  const workspace = await prepare(t);
  for (const typed of ["\r", "\u0004"]) {
    const shown = await onTerminal(workspace, thenShowState("locked"), [["locked: ", typed]]);
    t.true(shown.startsWith("Enter passphrase for locked: \r\nstatus 1\r\n"), shown);
    t.regex(shown, restored);
  }
});

test("an interrupt ends the program and restores the terminal", async (t) => {
  const workspace = await prepare(t);
  for (const [typed, status] of [
    ["ses\u0003", 130],
    ["ses\u001c", 131],
  ] as const) {
    const command = `ulimit -c 0; ${thenShowState("locked")}`;
    const shown = await onTerminal(workspace, command, [["locked: ", typed]]);
    t.regex(shown, new RegExp(`status ${status}\r\n`));
    t.regex(shown, restored);
  }
});

test("signals of other processes restore the terminal too", async (t) => {
  const workspace = await prepare(t);
  for (const [signal, status] of [
    ["TERM", 143],
    ["HUP", 129],
    ["INT", 130],
  ] as const) {
    // The background shell waits for the prompt, which turns echo off.
    const wait = "while stty -a </dev/tty | grep -q ' echo '; do sleep 0.05; done";
    const kill = `(${wait}; kill -${signal} $(cat pid)) &`;
    const run = `sh -c 'echo $$ >pid; exec ${sshAdd} locked'`;
    const command = `${kill} ${run}; echo "status $?"; ${thenShowState("--version")}`;
    const shown = await onTerminal(workspace, command, []);
    t.regex(shown, new RegExp(`status ${status}\r\n`), signal);
    t.regex(shown, restored, signal);
  }
});

test("without a terminal and with a display, SSH_ASKPASS is asked", async (t) => {
  const workspace = await prepare(t);
  const askpass = workspace.write(
    "askpass",
    '#!/bin/sh\necho "$1|$SSH_ASKPASS_PROMPT" >>asked\necho sesame\necho more\n',
    0o700,
  );
  const env = { DISPLAY: ":0", SSH_ASKPASS: askpass };
  const added = await runOurs(workspace, ["locked"], { env });
  t.deepEqual(added.stderr, "Identity added: locked (comment of locked)\n");
  t.is(readFileSync(workspace.path("asked"), "utf8"), "Enter passphrase for locked: |\n");
  const wayland = { WAYLAND_DISPLAY: "w", SSH_ASKPASS: askpass };
  t.is((await runOurs(workspace, ["locked"], { env: wayland })).status, 0);
});

test("an askpass program that fails or is missing gives no answer", async (t) => {
  const workspace = await prepare(t);
  const failing = workspace.write("failing", "#!/bin/sh\necho sesame\nexit 1\n", 0o700);
  const none = workspace.path("none");
  for (const [askpass, stderr] of [
    [failing, ""],
    [none, `ssh_askpass: exec(${none}): No such file or directory\r\n`],
  ] as const) {
    const env = { DISPLAY: ":0", SSH_ASKPASS: askpass };
    t.like(await runOurs(workspace, ["locked"], { env }), { stderr, status: 1 });
  }
});

test("an askpass program is asked three times for each file", async (t) => {
  const workspace = await prepare(t);
  await makeKey(workspace, "other");
  const askpass = workspace.write("askpass", '#!/bin/sh\necho "$1" >>asked\necho wrong\n', 0o700);
  const env = { SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force" };
  const { stderr, status } = await runOurs(workspace, ["locked", "other"], { env });
  t.is(
    stderr,
    [
      'Error loading key "locked": incorrect passphrase supplied to decrypt private key',
      "reason: The askpass program gave a wrong passphrase 3 times.",
      "Identity added: other (comment of other)",
      "",
    ].join("\n"),
  );
  t.is(status, 1);
  const bad = "Bad passphrase, try again for locked: \n";
  const asked = readFileSync(workspace.path("asked"), "utf8");
  t.is(asked, `Enter passphrase for locked: \n${bad}${bad}`);
});

test("the third answer of an askpass program may be the right one", async (t) => {
  const workspace = await prepare(t);
  const answers =
    "#!/bin/sh\necho x >>asked\n[ $(wc -l <asked) -lt 3 ] || echo sesame && echo no\n";
  const env = {
    SSH_ASKPASS: workspace.write("askpass", answers, 0o700),
    SSH_ASKPASS_REQUIRE: "force",
  };
  t.is((await runOurs(workspace, ["locked"], { env })).status, 0);
});

test("at a terminal, more than three wrong answers are accepted", async (t) => {
  const workspace = await prepare(t);
  const wrong = Array.from({ length: 5 }, () => ["locked: ", "wrong\r"] as const);
  const shown = await onTerminal(workspace, `${sshAdd} locked`, [
    ...wrong,
    ["locked: ", "sesame\r"],
  ]);
  t.regex(shown, /Identity added: locked/);
});

test("an empty SSH_ASKPASS or DISPLAY counts as unset", async (t) => {
  const workspace = await prepare(t);
  const usual = "/usr/bin/ssh-askpass";
  const { stderr } = await runOurs(workspace, ["locked"], {
    env: { DISPLAY: ":0", SSH_ASKPASS: "" },
  });
  t.true(stderr === "" || stderr === `ssh_askpass: exec(${usual}): No such file or directory\r\n`);
  const askpass = workspace.write("askpass", "#!/bin/sh\necho sesame >>asked\n", 0o700);
  const hidden = { DISPLAY: "", WAYLAND_DISPLAY: "", SSH_ASKPASS: askpass };
  const asked = await runOurs(workspace, ["locked"], { env: hidden, input: "sesame\n" });
  t.regex(asked.stderr, /^Enter passphrase for locked: Identity added/);
});

test("-v prints why askpass is used", async (t) => {
  const workspace = await prepare(t);
  const forced = { SSH_ASKPASS: "false", SSH_ASKPASS_REQUIRE: "force" };
  const asked = await runOurs(workspace, ["-v", "locked"], { env: forced });
  t.is(asked.stderr, "debug1: read_passphrase: requested to askpass\r\n");
  const read = await runOurs(workspace, ["-v", "locked"]);
  t.regex(read.stderr, /^debug1: read_passphrase: stdin is not a tty\r\nEnter passphrase/);
});

test("a carriage return ends a line of standard input too", async (t) => {
  const workspace = await prepare(t);
  const { stderr } = await runOurs(workspace, ["locked"], { input: "sesame\r\n" });
  t.is(stderr, "Enter passphrase for locked: Identity added: locked (comment of locked)\n");
});

test("SSH_ASKPASS_REQUIRE takes precedence", async (t) => {
  const workspace = await prepare(t);
  const askpass = workspace.write("askpass", "#!/bin/sh\necho sesame\n", 0o700);
  const forced = { SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force" };
  t.is((await runOurs(workspace, ["locked"], { env: forced })).status, 0);
  const never = { DISPLAY: ":0", SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "never" };
  const asked = await runOurs(workspace, ["locked"], { env: never, input: "sesame\n" });
  t.regex(asked.stderr, /^Enter passphrase for locked: Identity added/);
  const prefer = `SSH_ASKPASS=${askpass} SSH_ASKPASS_REQUIRE=prefer`;
  const preferred = await onTerminal(workspace, `DISPLAY=:0 ${prefer} ${sshAdd} locked`, []);
  t.is(preferred, "Identity added: locked (comment of locked)\r\n");
  const without = `${prefer} ${sshAdd} locked`;
  const shown = await onTerminal(workspace, without, [["locked: ", "sesame\r"]]);
  t.regex(shown, /^Enter passphrase for locked: /);
});

test("at a terminal, DISPLAY does not matter", async (t) => {
  const workspace = await prepare(t);
  const command = `DISPLAY=:0 SSH_ASKPASS=/bin/false ${sshAdd} locked`;
  const shown = await onTerminal(workspace, command, [["locked: ", "sesame\r"]]);
  t.regex(shown, /^Enter passphrase for locked: \r\nIdentity added/);
});

test("with redirected input, the controlling terminal is asked", async (t) => {
  const workspace = await prepare(t);
  const shown = await onTerminal(workspace, `${sshAdd} - <locked`, [["(stdin): ", "sesame\r"]]);
  t.regex(shown, /^Enter passphrase for \(stdin\): \r\nIdentity added: \(stdin\)/);
});

test("only one line of standard input is read", async (t) => {
  const workspace = await prepare(t);
  const command = `printf 'sesame\\nrest\\n' | (${sshAdd} locked 2>/dev/null; cat)`;
  const { stdout } = await workspace.run("sh", ["-c", command]);
  t.is(stdout, "rest\n");
});

test("a non-blocking standard input is waited for", async (t) => {
  const workspace = await prepare(t);
  const start = "import os, sys; os.set_blocking(0, False); os.execv(sys.argv[1], sys.argv[1:])";
  await makeKey(workspace, "other");
  for (const [args, file, said] of [
    [["-"], "other", "Identity added: (stdin) (comment of other)\n"],
    [["-d", "-"], "other.pub", "Identity removed: (stdin) ED25519 (comment of other)\n"],
  ] as const) {
    const child = workspace.spawn(python(), ["-c", start, sshAdd, ...args]);
    let stderr = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const content = readFileSync(workspace.path(file));
    for (const half of [content.subarray(0, 20), content.subarray(20)]) {
      await sleep(400); // so that the first read finds nothing
      child.stdin?.write(half);
    }
    child.stdin?.end();
    const [status] = await once(child, "close");
    t.is(stderr, said);
    t.is(status, 0);
  }
});

test("an unreadable standard input is reported", async (t) => {
  const workspace = await prepare(t);
  const { stderr, stdout } = await workspace.run("sh", [
    "-c",
    `${sshAdd} - </; ${sshAdd} -d - </; echo $?`,
  ]);
  t.is(stderr, 'Error loading key "(stdin)": Is a directory\n');
  t.is(stdout, "1\n");
});
