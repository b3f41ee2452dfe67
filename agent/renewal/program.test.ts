/** The renewal program of a real agent. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import test from "ava";
import { makeCa, makeKeyFile } from "../../fixtures/ca.ts";
import { eventually } from "../../fixtures/eventually.ts";
import { isRunning } from "../../fixtures/processes.ts";
import { makeWorkspace } from "../../fixtures/workspace.ts";
import { add, start } from "../test-program.ts";

test("the program has the agent's environment, and ends with the agent", async (t) => {
  const workspace = makeWorkspace(t);
  await makeCa(workspace, "ca");
  await makeKeyFile(workspace, "id", {});
  await workspace.expect("ssh-keygen", ["-q", "-s", "ca", "-I", "a", "-V", "-1h:+10m", "id.pub"]);
  const record = workspace.path("record");
  const script = `#!/bin/sh
env >env
echo "$0 $#" >>env
cp "$CARDAGENT_CERTIFICATE" old-cert.pub
echo $$ >record.new; mv record.new record
sleep 1000
`;
  workspace.write("bin/renew-it", script.replace("env", `cd ${workspace.root}; env`), 0o700);
  workspace.env.PATH = `${workspace.path("bin")}:${workspace.env.PATH}`;
  workspace.env.FOR_RENEWAL = "yes";
  workspace.env.CARDAGENT_CERTIFICATE = "/nowhere";
  const { socket, pid } = await start(workspace, ["-O", "renew=renew-it"]);
  await add(workspace, socket, ["-q", "id"]);
  t.true(await eventually(() => existsSync(record)));
  const [env, old, given] = ["env", "old-cert.pub", "id-cert.pub"].map((name) =>
    readFileSync(workspace.path(name), "utf8"),
  );
  t.regex(env ?? "", /^FOR_RENEWAL=yes$/m);
  t.notRegex(env ?? "", /^SSH_ASKPASS_PROMPT=/m);
  t.true(env?.endsWith(`${workspace.path("bin/renew-it")} 0\n`));
  t.is(old?.split(" ")[1], given?.split(" ")[1]);
  const temporary = () => readdirSync(workspace.path("tmp"));
  t.is(temporary().filter((name) => name.startsWith("cardagent-renew-")).length, 1);
  process.kill(pid);
  const program = Number(readFileSync(record, "utf8"));
  t.true(await eventually(() => !isRunning(pid) && !isRunning(program)));
  t.deepEqual(temporary(), []);
});
