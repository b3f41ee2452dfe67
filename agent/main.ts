/** `ssh-agent`: reads the command line and does what it asks for. */
import { writeSync } from "node:fs";
import { dirname } from "node:path";
import { detectShell, unsetVariable } from "./host/environment.ts";
import {
  givenSocket,
  homeSocket,
  removeSocket,
  type SocketPlace,
  temporarySocket,
} from "./host/socket-path.ts";
import { type AgentOptions, parseOptions, UsageError, usage } from "./options.ts";
import { describeAgent, startForCommand, startForShell } from "./start.ts";

main();

function main(): void {
  try {
    run(parseOptions(process.argv.slice(2)));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    const message = error.message === "" ? "" : `${error.message}\n`;
    writeSync(2, message + (error.showsUsage ? usage : ""));
    process.exit(error.status);
  }
}

function run(options: AgentOptions): void {
  switch (options.mode) {
    case "version":
      writeSync(2, `cardagent ${process.env.CARDAGENT_VERSION ?? ""}\n`);
      return;
    case "kill":
      endAgent(options);
      return;
    case "serve":
      void serve(options);
      return;
    case "foreground":
    case "debug":
      void runInForeground(options, choosePlace(options));
      return;
    case "background":
      if (options.command.length > 0) startForCommand(options, choosePlace(options));
      else startForShell(options, choosePlace(options));
      return;
  }
}

function choosePlace(options: AgentOptions): SocketPlace {
  try {
    if (options.bindAddress !== undefined) return givenSocket(options.bindAddress);
    return options.inTemporaryFolder ? temporarySocket() : homeSocket();
  } catch (error) {
    const reason = error instanceof Error ? error.message : "unknown error";
    writeSync(2, `Cannot make a folder for the agent's socket: ${reason}\n`);
    process.exit(1);
  }
}

async function serve(options: AgentOptions): Promise<void> {
  const path = options.bindAddress ?? "";
  const ownFolder = options.serving?.ownsFolder === true ? dirname(path) : undefined;
  const { serveInBackground } = await import("./serve.ts");
  serveInBackground(options, { path, ownFolder });
}

async function runInForeground(options: AgentOptions, place: SocketPlace): Promise<void> {
  const shell = options.shell ?? detectShell(process.env);
  const { serveInForeground } = await import("./serve.ts");
  const listening = () => writeSync(1, describeAgent(shell, place.path, undefined));
  serveInForeground(options, place, listening, (sentence) => {
    if (place.ownFolder !== undefined) removeSocket(place);
    writeSync(2, `${sentence}\n`);
    process.exit(1);
  });
}

/** `-k`: ends the agent of SSH_AGENT_PID. */
function endAgent(options: AgentOptions): void {
  const pid = process.env.SSH_AGENT_PID;
  if (pid === undefined) fail("SSH_AGENT_PID not set, cannot kill agent");
  if (!/^[1-9]\d{0,8}$/.test(pid)) {
    fail(`SSH_AGENT_PID="${pid}", which is not a good PID: invalid`);
  }
  try {
    process.kill(Number(pid), "SIGTERM");
  } catch (error) {
    const isGone = error instanceof Error && "code" in error && error.code === "ESRCH";
    fail(`kill: ${isGone ? "No such process" : "Operation not permitted"}`);
  }
  const shell = options.shell ?? detectShell(process.env);
  const unset = unsetVariable(shell, "SSH_AUTH_SOCK") + unsetVariable(shell, "SSH_AGENT_PID");
  writeSync(1, `${unset}echo Agent pid ${pid} killed;\n`);
}

function fail(message: string): never {
  writeSync(2, `${message}\n`);
  process.exit(1);
}
