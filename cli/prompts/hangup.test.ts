/** A terminal that hangs up during a prompt, as when its window is closed. */
import { existsSync, readFileSync } from "node:fs";
import test, { type ExecutionContext } from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { sshAdd } from "../../fixtures/programs.ts";
import { script } from "../../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { makeKey, runOurs, startSystemAgent } from "../test-agent.ts";

/** How a program ended after its terminal hung up. */
interface End {
  readonly status: number;
  /** What it wrote to standard error, redirected to a file. */
  readonly stderr: string;
}

/**
 * Runs ssh-add on a terminal, types once it prompts, and closes the terminal.
 * @param before commands for the shell to run first
 */
async function hangUpDuringPrompt(
  t: ExecutionContext,
  workspace: Workspace,
  args: string,
  { before = "", typed = "", redirection = "2>stderr" } = {},
): Promise<End> {
  const frame = workspace.write(
    "frame",
    `#!/bin/sh\ntrap : HUP\n(${before}exec ${sshAdd} ${args} ${redirection})\necho $? >status-new\nmv status-new status\n`,
    0o700,
  );
  const child = workspace.spawn(script(), ["-qec", frame, "/dev/null"]);
  child.stdout?.setEncoding("utf8");
  await new Promise<void>((resolve) => {
    let shown = "";
    child.stdout?.on("data", (text: string) => {
      shown += text;
      if (/: $/.test(shown)) resolve();
    });
  });
  child.stdin?.write(typed);
  child.kill("SIGKILL");
  t.true(await eventually(() => existsSync(workspace.path("status"))));
  const stderr = workspace.path("stderr");
  return {
    status: Number(readFileSync(workspace.path("status"), "utf8")),
    stderr: existsSync(stderr) ? readFileSync(stderr, "utf8") : "",
  };
}

const locked = "locked";
const cases = [
  ["a passphrase", locked, {}],
  ["a passphrase that is half typed", locked, { typed: "sesa" }],
  ["a passphrase under nohup", locked, { before: 'trap "" HUP; ' }],
  ["a passphrase where all streams are the terminal", locked, { redirection: "" }],
  ["the passphrase of a lock", "-x", {}],
  ["the passphrase to unlock", "-X", {}],
  ["a PIN", "-s /usr/lib/none.so", {}],
] as const;

for (const [what, args, options] of cases) {
  test(`a hangup during the prompt for ${what} ends ssh-add silently`, async (t) => {
    const workspace = makeWorkspace(t);
    await startSystemAgent(workspace);
    await makeKey(workspace, locked, { passphrase: "sesa" });
    const { status, stderr } = await hangUpDuringPrompt(t, workspace, args, options);
    // Either the signal or the end of input is first.
    t.true(status === 1 || status === 129, `${status}`);
    t.is(stderr.replace(/^Hangup\n$/, ""), ""); // the shell's message
    // The incomplete answer was not used: the agent is not locked, and has no keys.
    t.is((await runOurs(workspace, ["-l"])).stdout, "The agent has no identities.\n");
    t.regex((await runOurs(workspace, ["-X"], { input: "\n" })).stderr, /Failed to unlock/);
  });
}
