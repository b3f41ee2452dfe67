import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { askpass, confirmQuestion, describeProcess } from "./confirm.ts";

const neverAborted = new AbortController().signal;

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
    t.is(await askpass(withAskpass(t, script))("May I?", neverAborted), expected);
  });
}

test("the program gets the question and its kind", async (t) => {
  const environment = withAskpass(t, 'printf "%s|%s" "$1" "$SSH_ASKPASS_PROMPT" >asked');
  const question = confirmQuestion("my key", "SHA256:x", "Login as root.", "git (pid 7)");
  t.true(await askpass(environment)(question, neverAborted));
  t.is(
    readFileSync(join(environment.FOLDER ?? "", "asked"), "utf8"),
    "Allow use of key my key?\nKey fingerprint SHA256:x.\nLogin as root.\nRequested by git (pid 7).|confirm",
  );
});

test("without a display, the user is asked only with SSH_ASKPASS_REQUIRE=force", async (t) => {
  const { DISPLAY: _, ...hidden } = withAskpass(t, "exit 0");
  const refused = { code: "user-refused" };
  t.throws(() => askpass(hidden)("May I?", neverAborted), refused);
  t.throws(
    () => askpass({ ...hidden, SSH_ASKPASS_REQUIRE: "prefer" })("May I?", neverAborted),
    refused,
  );
  t.true(await askpass({ ...hidden, SSH_ASKPASS_REQUIRE: "force" })("May I?", neverAborted));
  t.true(await askpass({ ...hidden, WAYLAND_DISPLAY: "wayland-0" })("May I?", neverAborted));
  const never = { ...hidden, DISPLAY: ":7", SSH_ASKPASS_REQUIRE: "never" };
  t.throws(() => askpass(never)("May I?", neverAborted), refused);
});

test("a missing program is a refusal that names it", async (t) => {
  const environment = { DISPLAY: ":7", SSH_ASKPASS: "/nowhere/askpass" };
  const refusal = await t.throwsAsync(askpass(environment)("May I?", neverAborted), {
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
