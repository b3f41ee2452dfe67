import { spawn } from "node:child_process";
import { once, setMaxListeners } from "node:events";
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import test, { type ExecutionContext } from "ava";
import { makeAskpass, makeRefusingAskpass } from "../../fixtures/askpass.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { confirmQuestion, describeProcess, makePrompter } from "./prompter.ts";

const neverAborted = new AbortController().signal;
setMaxListeners(0, neverAborted);

/** An askpass program, and the environment that names it. */
function withAskpass(t: ExecutionContext, script: string): NodeJS.ProcessEnv {
  const folder = mkdtempSync(join(tmpdir(), "ca-"));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "askpass");
  writeFileSync(path, `#!/bin/sh\ncd ${folder}\n${script}\n`);
  chmodSync(path, 0o700);
  return { PATH: process.env.PATH, SSH_ASKPASS: path, DISPLAY: ":7", FOLDER: folder };
}

const answers: readonly [string, string, boolean][] = [
  ["exit status 0 and no word", "exit 0", true],
  ["an empty line", "echo", true],
  ["the word yes", "echo YES", true],
  ["the word no", "echo no", false],
  ["exit status 1", "exit 1", false],
  ["the word yes with exit status 1", "echo yes; exit 1", false],
  ["a signal", "kill -9 $$", false],
];

for (const [name, script, expected] of answers) {
  test(`${name} means ${expected ? "yes" : "no"}`, async (t) => {
    t.is(await makePrompter(withAskpass(t, script)).confirm("May I?", neverAborted), expected);
  });
}

test("the program gets the question and its kind", async (t) => {
  const environment = withAskpass(t, 'printf "%s|%s" "$1" "$SSH_ASKPASS_PROMPT" >asked');
  const question = confirmQuestion("my key", "SHA256:x", "Login as root.", "git (pid 7)");
  t.true(await makePrompter(environment).confirm(question, neverAborted));
  t.is(
    readFileSync(join(environment.FOLDER ?? "", "asked"), "utf8"),
    "Allow use of key my key?\nKey fingerprint SHA256:x.\nLogin as root.\nRequested by git (pid 7).|confirm",
  );
});

test("without a display, the user is asked only with SSH_ASKPASS_REQUIRE=force", async (t) => {
  const { DISPLAY: _, ...hidden } = withAskpass(t, "exit 0");
  const refused = { code: "user-refused" };
  await t.throwsAsync(() => makePrompter(hidden).confirm("May I?", neverAborted), refused);
  await t.throwsAsync(
    () =>
      makePrompter({ ...hidden, SSH_ASKPASS_REQUIRE: "prefer" }).confirm("May I?", neverAborted),
    refused,
  );
  t.true(
    await makePrompter({ ...hidden, SSH_ASKPASS_REQUIRE: "force" }).confirm("May I?", neverAborted),
  );
  t.true(
    await makePrompter({ ...hidden, WAYLAND_DISPLAY: "wayland-0" }).confirm("May I?", neverAborted),
  );
  const never = { ...hidden, DISPLAY: ":7", SSH_ASKPASS_REQUIRE: "never" };
  await t.throwsAsync(() => makePrompter(never).confirm("May I?", neverAborted), refused);
});

test("a missing program is a refusal that names it", async (t) => {
  const environment = { DISPLAY: ":7", SSH_ASKPASS: "/nowhere/askpass" };
  const refusal = await t.throwsAsync(makePrompter(environment).confirm("May I?", neverAborted), {
    code: "user-refused",
  });
  t.regex(refusal?.message ?? "", /\/nowhere\/askpass/);
});

test("a process is described by its name and number", async (t) => {
  t.regex(await describeProcess(process.pid), new RegExp(`^\\S+ \\(pid ${process.pid}\\)$`));
  t.is(await describeProcess(2 ** 30), `pid ${2 ** 30}`);
});

test("control characters in a process's name are replaced", async (t) => {
  const script = 'printf "a\\n\\342\\200\\256\\033[2J\\377" >/proc/$$/comm; echo; read -r _';
  const child = spawn("/bin/sh", ["-c", script], { stdio: ["pipe", "pipe", "inherit"] });
  t.teardown(() => child.kill());
  await once(child.stdout, "data");
  const described = await describeProcess(child.pid ?? 0);
  t.is(described, `a\ufffd\ufffd\ufffd[2J\ufffd (pid ${child.pid})`);
});

test("a PIN is the first line of what the askpass program says", async (t) => {
  const workspace = makeWorkspace(t);
  for (const [answer, expected] of [
    ["1234", "1234"],
    ["pin\r\nmore", "pin"],
    ["é", "é"],
  ] as const) {
    const askpass = makeAskpass(workspace, answer);
    const pin = await makePrompter({ ...process.env, ...askpass.env }).askPin(
      "Enter PIN: ",
      neverAborted,
    );
    t.is(pin?.toString(), expected);
    t.deepEqual(askpass.calls(), [{ prompt: "Enter PIN: ", kind: undefined, answer }]);
  }
});

test("without an answer there is no PIN", async (t) => {
  const workspace = makeWorkspace(t);
  const environments = [
    makeRefusingAskpass(workspace).env,
    makeAskpass(workspace, "").env,
    { SSH_ASKPASS: workspace.path("nothing"), SSH_ASKPASS_REQUIRE: "force" },
    { ...makeAskpass(workspace, "1234").env, SSH_ASKPASS_REQUIRE: "never" },
  ];
  for (const env of environments) {
    t.is(
      await makePrompter({ ...process.env, ...env }).askPin("Enter PIN: ", neverAborted),
      undefined,
    );
  }
});

test("a notice stands until it is taken away", async (t) => {
  const workspace = makeWorkspace(t);
  const [shown, ended] = [workspace.path("shown"), workspace.path("ended")];
  const script = `#!/bin/sh
trap 'echo >${ended}; exit' TERM
printf '%s %s' "$SSH_ASKPASS_PROMPT" "$1" >${shown}.new && mv ${shown}.new ${shown}
while :; do sleep 0.05; done
`;
  const SSH_ASKPASS = workspace.write("notice", script, 0o700);
  const env = { ...process.env, SSH_ASKPASS, SSH_ASKPASS_REQUIRE: "force" };
  const taken = new AbortController();
  const done = makePrompter(env).notify("Touch", taken.signal);
  while (!existsSync(shown)) await sleep(10);
  t.is(readFileSync(shown, "utf8"), "none Touch");
  t.false(existsSync(ended));
  taken.abort();
  await done;
  t.true(existsSync(ended));
  const missing = { SSH_ASKPASS: workspace.path("nothing"), SSH_ASKPASS_REQUIRE: "force" };
  await t.notThrowsAsync(makePrompter(missing).notify("Touch", neverAborted));
});

test("a notice that cannot be shown ends no other process", async (t) => {
  const workspace = makeWorkspace(t);
  const program = `
    import { makePrompter } from ${JSON.stringify(new URL("prompter.ts", import.meta.url).href)};
    const taken = new AbortController();
    const { notify } = makePrompter({ SSH_NOTIFY: ${JSON.stringify(workspace.path("nothing"))} });
    notify("Touch", taken.signal);
    taken.abort();`;
  const args = ["--import=tsx", "--input-type=module", "-e", program];
  const shell = ["-c", '"$0" "$@"; exit $?', process.execPath, ...args];
  const { status, signal } = await workspace.run("sh", shell, { cwd: process.cwd() });
  t.deepEqual({ status, signal }, { status: 0, signal: null });
});

test("a program of one's own shows notices, with or without a display", async (t) => {
  const workspace = makeWorkspace(t);
  const shown = workspace.path("shown");
  const script = `#!/bin/sh
printf '%s %s' "\${SSH_ASKPASS_PROMPT-unset}" "$1" >${shown}.new && mv ${shown}.new ${shown}
exec sleep 30
`;
  const { SSH_ASKPASS_PROMPT: _, ...env } = process.env;
  const SSH_NOTIFY = workspace.write("notify", script, 0o700);
  const taken = new AbortController();
  const { notify } = makePrompter({ ...env, SSH_NOTIFY, SSH_ASKPASS_REQUIRE: "never" });
  const done = notify("Touch", taken.signal);
  while (!existsSync(shown)) await sleep(10);
  t.is(readFileSync(shown, "utf8"), "unset Touch");
  taken.abort();
  await done;
  const missing = makePrompter({ SSH_NOTIFY: workspace.path("nothing") });
  await t.notThrowsAsync(missing.notify("Touch", neverAborted));
});
