import { existsSync } from "node:fs";
import test from "ava";
import { eventually } from "../fixtures/eventually.ts";
import { isRunning } from "../fixtures/processes.ts";
import { sshAgent } from "../fixtures/programs.ts";
import { systemSshAgent } from "../fixtures/system-programs.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { add, start } from "./test-program.ts";

test("-k ends the agent of SSH_AGENT_PID, and says why it cannot", async (t) => {
  const workspace = makeWorkspace(t);
  const { socket, pid } = await start(workspace);
  await add(workspace, socket, ["-l"]);
  const kill = (env: Record<string, string | undefined>, args = ["-k"]) =>
    workspace.run(sshAgent, args, { env });
  const ended = await kill({ SSH_AGENT_PID: String(pid) });
  t.is(ended.stdout, `unset SSH_AUTH_SOCK;\nunset SSH_AGENT_PID;\necho Agent pid ${pid} killed;\n`);
  t.true(await eventually(() => !isRunning(pid)));
  t.false(existsSync(socket));
  const values = ["abc", "", "0", "-1", "1", "2x", "4294967296", "999999999", " +999999999"];
  for (const value of [undefined, ...values]) {
    const theirs = await workspace.run(systemSshAgent(), ["-k"], { env: { SSH_AGENT_PID: value } });
    const ours = await kill({ SSH_AGENT_PID: value });
    t.deepEqual([ours.stderr, ours.status], [theirs.stderr, theirs.status], value);
  }
});

test("-k ends an agent that has just started, and removes its socket", async (t) => {
  const workspace = makeWorkspace(t);
  const socket = workspace.path("agent.sock");
  const script = `for try in 1 2 3; do eval "$("$0" -a ${socket})" && "$0" -k || exit 1; done`;
  await workspace.expect("sh", ["-c", script, sshAgent]);
  t.true(await eventually(() => !existsSync(socket)));
  t.pass();
});
