import { connect, type Socket } from "node:net";
import test from "ava";
import { eventually } from "../fixtures/eventually.ts";
import { sshAgent } from "../fixtures/programs.ts";
import { keysOf, makeToken } from "../fixtures/softhsm.ts";
import { startAgent } from "../fixtures/system-agent.ts";
import { makeWorkspace } from "../fixtures/workspace.ts";
import { AgentClient } from "../protocol/client.ts";

test("an agent that has no descriptors left says so of a library, and loads it later", async (t) => {
  const workspace = makeWorkspace(t);
  const token = await makeToken(workspace, { keys: keysOf(["p256"]) });
  const program = workspace.write(
    "few-descriptors",
    `#!/bin/sh\nulimit -n 45\nexec ${sshAgent} "$@"\n`,
    0o700,
  );
  const { socket } = await startAgent(workspace, { program, env: token.env });
  const client = await AgentClient.connect(socket);
  const load = () => client.addSmartcardKey(token.library, Buffer.from(token.pin));
  await load(); // with the process that waits for a library
  const others: Socket[] = [];
  for (let at = 0; at < 60; at++) others.push(connect(socket).on("error", () => {}));
  t.true(await eventually(async () => (await load().catch(() => "refused")) === "refused"));
  const { code, sentence } = (await client.failureReason()) ?? {};
  t.is(code, "internal");
  t.is(sentence, "The agent could not start a process for the library.");
  for (const other of others) other.destroy();
  t.true(
    await eventually(() =>
      load().then(
        () => true,
        () => false,
      ),
    ),
  );
  client.close();
});
