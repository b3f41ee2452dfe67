import test from "ava";
import { eventually } from "../fixtures/eventually.ts";
import { childrenOf } from "../fixtures/processes.ts";
import { sshAdd, sshAgent } from "../fixtures/programs.ts";
import { keysOf, makeToken } from "../fixtures/softhsm.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";

test("once cards are used, a spare process loads the next library, and another is started", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256"]) });
  const { env, pid } = await startAgent(workspace, { program: sshAgent, env: token.env });
  const one = () => eventually(() => childrenOf(pid).length === 1);
  await workspace.run(sshAdd, ["-l"], { env });
  t.deepEqual(childrenOf(pid), []);
  await workspace.run(sshAdd, ["--list-providers"], { env });
  t.true(await one());
  let [waiting] = childrenOf(pid);
  for (const unload of [["-e", token.library], ["-D"]]) {
    await workspace.expect(sshAdd, ["-q", "-s", token.library], { env, input: `${token.pin}\n` });
    t.deepEqual(childrenOf(pid), [waiting]);
    await workspace.expect(sshAdd, ["-q", ...unload], { env });
    t.true(await one());
    t.notDeepEqual(childrenOf(pid), [waiting]);
    [waiting] = childrenOf(pid);
  }
});
