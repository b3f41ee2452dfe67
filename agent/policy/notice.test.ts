import { existsSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import test from "ava";
import { makeAskpass, makeRefusingAskpass } from "../../fixtures/askpass.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { askpassPin, notifier } from "./notice.ts";

const never = new AbortController().signal;

test("a PIN is the first line of what the askpass program says", async (t) => {
  const workspace = makeWorkspace(t);
  for (const [answer, expected] of [
    ["1234", "1234"],
    ["pin\r\nmore", "pin"],
    ["é", "é"],
  ] as const) {
    const askpass = makeAskpass(workspace, answer);
    const pin = await askpassPin({ ...process.env, ...askpass.env })("Enter PIN: ", never);
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
    t.is(await askpassPin({ ...process.env, ...env })("Enter PIN: ", never), undefined);
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
  const done = notifier(env)("Touch", taken.signal);
  while (!existsSync(shown)) await sleep(10);
  t.is(readFileSync(shown, "utf8"), "none Touch");
  t.false(existsSync(ended));
  taken.abort();
  await done;
  t.true(existsSync(ended));
  const missing = { SSH_ASKPASS: workspace.path("nothing"), SSH_ASKPASS_REQUIRE: "force" };
  await t.notThrowsAsync(notifier(missing)("Touch", never));
});

test("a notice that cannot be shown ends no other process", async (t) => {
  const workspace = makeWorkspace(t);
  const program = `
    import { notifier } from ${JSON.stringify(new URL("notice.ts", import.meta.url).href)};
    const taken = new AbortController();
    notifier({ SSH_NOTIFY: ${JSON.stringify(workspace.path("nothing"))} })("Touch", taken.signal);
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
  const notify = notifier({ ...env, SSH_NOTIFY, SSH_ASKPASS_REQUIRE: "never" });
  const done = notify("Touch", taken.signal);
  while (!existsSync(shown)) await sleep(10);
  t.is(readFileSync(shown, "utf8"), "unset Touch");
  taken.abort();
  await done;
  const missing = notifier({ SSH_NOTIFY: workspace.path("nothing") });
  await t.notThrowsAsync(missing("Touch", never));
});
