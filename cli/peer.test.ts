/** This ssh-add and the system's give equal results for equal command lines. */
import { chmodSync, copyFileSync, readFileSync, writeFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { makeWorkspace, type RunResult, type Workspace } from "../fixtures/workspace.ts";
import {
  certify,
  makeKey,
  runOurs,
  runSystem,
  type SshAddOptions,
  startSystemAgent,
} from "./test-agent.ts";

/** A command line for both programs. */
type Step = readonly [args: string[], options?: SshAddOptions];

/** A workspace with keys of various kinds. */
async function prepare(t: ExecutionContext): Promise<Workspace> {
  const workspace = makeWorkspace(t);
  const ca = await makeKey(workspace, "ca");
  const certified = await makeKey(workspace, "certified");
  await certify(workspace, ca, certified);
  await makeKey(workspace, "plain", { type: "ecdsa", bits: 384 });
  await makeKey(workspace, "rsa", { type: "rsa", bits: 2048 });
  await makeKey(workspace, "locked", { passphrase: "sesame" });
  await makeKey(workspace, "locked2", { passphrase: "sesame" });
  await makeKey(workspace, "exposed");
  chmodSync(workspace.path("exposed"), 0o640);
  workspace.write("lines", "# a comment\n\n  ssh-ed25519 AAAA none\n");
  return workspace;
}

/** Runs the steps with one program and a new agent. */
async function answers(
  workspace: Workspace,
  run: typeof runOurs,
  steps: readonly Step[],
): Promise<RunResult[]> {
  await startSystemAgent(workspace);
  const results: RunResult[] = [];
  for (const [args, options] of steps) results.push(await run(workspace, args, options));
  return results;
}

/** Replaces messages of OpenSSH 9.2 by OpenSSH 10's. */
function modernised(result: RunResult): RunResult {
  const stderr = result.stderr
    .replaceAll("Lifetime set to 3600 seconds", "Lifetime set to 01:00:00")
    .replaceAll("error in libcrypto", "invalid format")
    .replace(/usage:.*/s, "usage");
  return { ...result, stderr };
}

/** Removes the lines that only ours writes: reasons and hints, and below certificates with -lv. */
function withoutAdditions(result: RunResult): RunResult {
  const without = (text: string, pattern: RegExp) =>
    text
      .split(/(?<=\n)/)
      .filter((line) => !pattern.test(line))
      .join("");
  return {
    ...result,
    stdout: without(result.stdout, /^ {8}(Key ID|Principals|CA|Validity): /),
    stderr: without(result.stderr, /^(reason|hint): /),
  };
}

async function compare(
  t: ExecutionContext,
  given: readonly Step[] | ((workspace: Workspace) => readonly Step[]),
): Promise<void> {
  const workspace = await prepare(t);
  const steps = typeof given === "function" ? given(workspace) : given;
  const expected = await answers(workspace, runSystem, steps);
  const found = await answers(workspace, runOurs, steps);
  for (const [index, [args]] of steps.entries()) {
    const said = modernised(withoutAdditions(found[index] as RunResult));
    t.deepEqual(said, modernised(expected[index] as RunResult), `ssh-add ${args.join(" ")}`);
  }
}

test("adding, listing and removing files", (t) =>
  compare(t, [
    [["-l"]],
    [["-L"]],
    [["plain"]],
    [["certified", "rsa"]],
    [["-l"]],
    [["-L"]],
    [["-lv"]],
    [["-E", "md5", "-l"]],
    [["-E", "MD5", "-l"]],
    [["-Esha512", "-l"]],
    [["-l", "ignored"]],
    [["-c", "-t", "1h", "certified"]],
    [["-qt1h", "plain"]],
    [["-k", "certified"]],
    [["-d", "certified"]],
    [["-d", "certified"]],
    [["-dk", "plain.pub"]],
    [["-qd", "rsa"]],
    [["-l"]],
    [["plain", "-l"]],
    [["--", "-l"]],
    [["-D"]],
    [["-qD"]],
    [["-l"]],
  ]));

test("files that are missing, exposed or not keys", (t) =>
  compare(t, [
    [["nofile"]],
    [["nofile", "plain"]],
    [["exposed"]],
    [["lines"]],
    [["."]],
    [[""]],
    [["-d", "."]],
    [["-T", "."]],
    [["-d", "nofile"]],
    [["-d", "lines"]],
    [["-T", "nofile"]],
    [["-T", 'odd \\ é"\tname']],
    [["-d", "-"], { input: "# nothing\n\nssh-ed25519 AAAA x\n" }],
    [["-l"]],
  ]));

test("keys on standard input", (t) =>
  compare(t, (workspace) => {
    const key = readFileSync(workspace.path("plain"));
    const lines = readFileSync(workspace.path("plain.pub"), "utf8");
    return [
      [["-"], { input: key }],
      [["-l"]],
      [["-d", "-"], { input: `# one\n${lines}` }],
      [["-d", "-"], { input: lines }],
      [["-d", "-"], { input: "" }],
      [["-"], { input: "" }],
    ];
  }));

test("passphrases from standard input", (t) =>
  compare(t, [
    [["locked"], { input: "sesame\n" }],
    [["locked"], { input: "wrong\nsesame\n" }],
    [["locked"], { input: "wrong\nwrong\n" }],
    [["locked", "locked2"], { input: "sesame\n" }],
    [["locked", "locked2"], { input: "\nsesame\n" }],
    [["-c", "locked"], { input: "sesame" }],
    [["locked"], { input: "sesame\r\n" }],
    [["-v", "locked"], { input: "" }],
    [["locked"], { input: "" }],
    [["locked"]],
    [["-l"]],
  ]));

test("locking and unlocking", (t) =>
  compare(t, [
    [["-x"], { input: "a\nb\n" }],
    [["-x"], { input: "a\na\n" }],
    [["-x"], { input: "a\na\n" }],
    [["-l"]],
    [["-D"]],
    [["plain"]],
    [["-X"], { input: "b\n" }],
    [["-X"], { input: "a\n" }],
    [["-X"], { input: "a\n" }],
    [["-qx"]],
  ]));

test("testing keys", (t) =>
  compare(t, [
    [["-T"]],
    [["-T", "plain.pub"]],
    [["-q", "plain", "certified", "rsa"]],
    [["-T", "plain.pub", "certified.pub", "certified-cert.pub", "rsa", "certified"]],
    [["-T", "locked.pub", "plain.pub"]],
  ]));

test("invalid cards", (t) =>
  compare(t, [
    [["-s", "/usr/lib/nolib.so"], { input: "1234\n" }],
    [["-e", "/usr/lib/nolib.so"]],
    [["-qs", "nolib.so"]],
  ]));

test("invalid command lines", (t) =>
  compare(t, [
    [["-Z"]],
    [["-lZ"]],
    [["-:"]],
    [["-s"]],
    [["-E"]],
    [["-qt"]],
    [["-E", "sha9", "-Z"]],
    [["-t", "bogus"]],
    [["-t", ""]],
    [["-t", "-1"]],
    [["-t", "5000000000", "plain"]],
    [["-l", "-D"]],
    [["-l", "-L"]],
    [["-xX"]],
    [["-h", "nohost", "plain"]],
    [["-vv", "-H", "none", "-H", ".", "-h", "nohost", "plain"]],
  ]));

test("a missing agent", async (t) => {
  const workspace = makeWorkspace(t);
  const plain = workspace.write("plain", "no socket");
  for (const socket of [undefined, "", workspace.path("none"), plain]) {
    const env = socket === undefined ? {} : { SSH_AUTH_SOCK: socket };
    const expected = await runSystem(workspace, ["-l"], { env });
    t.is(expected.status, 2);
    t.deepEqual(await runOurs(workspace, ["-l"], { env }), expected);
    // As in OpenSSH 10.5; 9.2 connects first.
    t.is((await runOurs(workspace, ["-Z"], { env })).status, 1);
    t.is((await runOurs(workspace, ["-E", "sha9"], { env })).status, 255);
  }
});

test("certificates that do not fit", async (t) => {
  const workspace = await prepare(t);
  copyFileSync(workspace.path("certified-cert.pub"), workspace.path("plain-cert.pub"));
  const steps: Step[] = [[["plain"]], [["-d", "plain"]], [["-l"]]];
  const expected = await answers(workspace, runSystem, steps);
  t.deepEqual(await answers(workspace, runOurs, steps), expected);
  writeFileSync(workspace.path("plain-cert.pub"), "junk\n");
  const { stderr, status } = (await answers(workspace, runOurs, steps))[0] as RunResult;
  t.is(status, 0);
  t.regex(stderr, /Failed to load certificate "plain-cert.pub": invalid format/);
});
