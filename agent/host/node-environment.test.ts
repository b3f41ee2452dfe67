/** Variables that control Node.js do not affect the agent, but reach the programs that it runs. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import test from "ava";
import { eventually } from "../../fixtures/eventually.ts";
import { childrenOf } from "../../fixtures/processes.ts";
import { scripts, sshAgent } from "../../fixtures/programs.ts";
import { startAgent } from "../../fixtures/system-agent.ts";
import { sshKeygen, systemSshAdd } from "../../fixtures/system-programs.ts";
import { makeWorkspace, type Workspace } from "../../fixtures/workspace.ts";
import { AgentClient } from "../../protocol/client.ts";
import { add, start } from "../test-program.ts";
import { cleanNodeEnvironment, restoreNodeEnvironment } from "./node-environment.ts";

/** Variables that have Node.js load a file, open a debugger, write files and log. */
function nodeVariables(workspace: Workspace): Record<string, string> {
  const script = workspace.write(
    "loaded.cjs",
    `require("fs").appendFileSync("${workspace.path("loaded")}", process.argv.join(" ") + "\\n")`,
  );
  return {
    NODE_OPTIONS: `--inspect=127.0.0.1:0 --require ${script} --no-warnings`,
    NODE_EXTRA_CA_CERTS: "/no such/file $HOME 'x'",
    NODE_V8_COVERAGE: workspace.path("coverage"),
    NODE_DEBUG: "net,child_process",
    NODE_PENDING_DEPRECATION: "1",
    NODE_REDIRECT_WARNINGS: workspace.path("warnings"),
    NODE_PATH: "/somewhere",
    OPENSSL_CONF: workspace.write("openssl.cnf", "nodejs_conf = x\n[x]\n"),
  };
}

/** The environments with which an agent's process and its children were started. */
function environmentsOf(pid: number): string[] {
  return [pid, ...childrenOf(pid)].map((each) => readFileSync(`/proc/${each}/environ`, "utf8"));
}

function hasNodeVariables(environment: string): boolean {
  return environment.split("\0").some((entry) => /^(NODE_|OPENSSL_CONF=)/.test(entry));
}

/** Has an agent start the process that it keeps ready once cards are used. */
async function useCards(socket: string): Promise<void> {
  const client = await AgentClient.connect(socket);
  await client.listProviders();
  client.close();
}

/** Installs the program as npm does: by a symbolic link. */
function link(workspace: Workspace): string {
  const path = workspace.path("ssh-agent");
  symlinkSync(sshAgent, path);
  return path;
}

for (const way of ["by itself", "as an argument of node"]) {
  test(`Node.js's variables do not affect an agent in the foreground, started ${way}`, async (t) => {
    const workspace = makeWorkspace(t);
    const env = nodeVariables(workspace);
    const program =
      way === "by itself"
        ? link(workspace)
        : workspace.write(
            "run",
            `#!/bin/sh\nexec node ${join(scripts, "ssh-agent")} "$@"\n`,
            0o700,
          );
    const agent = await startAgent(workspace, { program, env });
    t.is((await add(workspace, agent.socket, ["-l"])).status, 1);
    await useCards(agent.socket);
    t.true(await eventually(() => environmentsOf(agent.pid).length > 1));
    t.deepEqual(environmentsOf(agent.pid).filter(hasNodeVariables), []);
    const listening = execFileSync("ss", ["-Htlnp"], { encoding: "utf8" });
    t.notRegex(listening, new RegExp(`pid=${agent.pid},`));
    if (way !== "by itself") return; // Node.js has looked at them before the agent began anew
    t.false(existsSync(workspace.path("loaded")));
  });
}

test("Node.js's variables affect neither an agent in the background nor its starting program", async (t) => {
  const workspace = makeWorkspace(t);
  Object.assign(workspace.env, nodeVariables(workspace));
  const { pid, socket } = await start(workspace, [], link(workspace));
  t.is((await add(workspace, socket, ["-l"])).status, 1);
  await useCards(socket);
  t.true(await eventually(() => environmentsOf(pid).length > 1));
  t.deepEqual(environmentsOf(pid).filter(hasNodeVariables), []);
  t.false(existsSync(workspace.path("loaded")));
});

test("an agent starts even if NODE_OPTIONS is invalid", async (t) => {
  const workspace = makeWorkspace(t);
  const env = { NODE_OPTIONS: "--no-such-option", NODE_EXTRA_CA_CERTS: "/nofile" };
  const { stderr, status } = await workspace.run(sshAgent, ["-V"], { env });
  t.regex(stderr, /^cardagent \S+\n$/);
  t.is(status, 0);
});

test("a command sees the original environment", async (t) => {
  const workspace = makeWorkspace(t);
  const env = { ...nodeVariables(workspace), "BASH_FUNC_f%%": "() { :; }", EMPTY: "" };
  const theirs = await workspace.expect("env", [], { env });
  const ours = await workspace.expect(sshAgent, ["env"], { env });
  const lines = (text: string) =>
    text
      .split("\n")
      .filter((line) => !/^(SSH_A|_=)/.test(line))
      .sort();
  t.deepEqual(lines(ours), lines(theirs));
});

for (const args of [[], ["-D"]]) {
  test(`an askpass program sees the original environment: ssh-agent ${args.join(" ")}`, async (t) => {
    const workspace = makeWorkspace(t);
    const asked = workspace.path("asked");
    const askpass = workspace.write("askpass", `#!/bin/sh\nenv >${asked}\n`, 0o700);
    const env = { ...nodeVariables(workspace), SSH_ASKPASS: askpass, SSH_ASKPASS_REQUIRE: "force" };
    const key = workspace.path("key");
    await workspace.expect(sshKeygen(), ["-q", "-t", "ed25519", "-N", "", "-f", key]);
    let socket: string;
    if (args.length > 0) ({ socket } = await startAgent(workspace, { program: sshAgent, env }));
    else {
      const output = await workspace.expect(sshAgent, [], { env });
      workspace.adopt(Number(/SSH_AGENT_PID=(\d+)/.exec(output)?.[1]));
      socket = /SSH_AUTH_SOCK=(.*?);/.exec(output)?.[1] ?? "";
    }
    const client = { env: { SSH_AUTH_SOCK: socket } };
    await workspace.expect(systemSshAdd(), ["-q", "-c", key], client);
    await workspace.expect(systemSshAdd(), ["-T", `${key}.pub`], client);
    const found = readFileSync(asked, "utf8").split("\n");
    for (const [name, value] of Object.entries(env))
      t.true(found.includes(`${name}=${value}`), name);
    t.deepEqual(
      found.filter((line) => /^(_OPTIONS|_CERTS|CARDAGENT)/.test(line)),
      [],
    );
  });
}

test("saved variables are restored, except those for one process", (t) => {
  const environment = { PATH: "/bin", NODE_OPTIONS: "-x", NODE_UNIQUE_ID: "1", NODE_ENV: "test" };
  const cleaned = cleanNodeEnvironment(environment);
  const given = Object.entries(cleaned).filter(([, value]) => value !== undefined);
  t.deepEqual(given.map(([name]) => name).sort(), ["CARDAGENT_ENVIRONMENT", "NODE_ENV", "PATH"]);
  const found: NodeJS.ProcessEnv = Object.fromEntries(given);
  t.false(restoreNodeEnvironment(found));
  t.deepEqual(found, { PATH: "/bin", NODE_OPTIONS: "-x", NODE_ENV: "test" });
  t.true(restoreNodeEnvironment({ NODE_OPTIONS: "-x" }));
});

test("an invalid list of saved variables sets none", (t) => {
  for (const text of ["", "{", "null", "3", '["x"]', '{"PATH":"/tmp"}', '{"NODE_PATH":3}']) {
    const environment: NodeJS.ProcessEnv = { CARDAGENT_ENVIRONMENT: text };
    t.false(restoreNodeEnvironment(environment));
    t.deepEqual(environment, {});
  }
});

test("the shebang is not longer than older kernels read", (t) => {
  const [first = ""] = readFileSync(join(scripts, "ssh-agent"), "utf8").split("\n");
  t.true(first.startsWith("#!/usr/bin/env -S env "));
  t.true(first.length < 127, String(first.length));
});
