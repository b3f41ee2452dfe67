/** `ssh-agent`: reads the command line and does what it asks for. */
import { writeSync } from "node:fs";
import { dirname } from "node:path";
import { getSystemErrorMap } from "node:util";
import { endAgent } from "./end.ts";
import { type Activation, findActivation, forgetActivation } from "./host/activation.ts";
import { detectShell } from "./host/environment.ts";
import {
  homeFolder,
  homeSocket,
  hostPrefix,
  placeAt,
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
    const end = error.isLogged ? "\r\n" : "\n";
    const message = error.message === "" ? "" : error.message + end;
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
      end(options);
      return;
    case "clean":
      void clean(options);
      return;
    case "serve":
      void serve(options);
      return;
    case "foreground":
    case "debug":
      void runInForeground(options);
      return;
    case "background":
      if (options.command.length > 0) startForCommand(options, choosePlace(options));
      else startForShell(options, choosePlace(options));
      return;
  }
}

function choosePlace(options: AgentOptions): SocketPlace {
  try {
    if (options.bindAddress !== undefined) return placeAt(options.bindAddress, undefined);
    return options.inTemporaryFolder ? temporarySocket() : homeSocket();
  } catch (error) {
    fail(`Cannot make a folder for the agent's socket: ${reasonOf(error)}`);
  }
}

async function serve(options: AgentOptions): Promise<void> {
  const path = options.bindAddress ?? "";
  const ownFolder = options.serving?.ownsFolder === true ? dirname(path) : undefined;
  const { serveInBackground } = await import("./serve.ts");
  serveInBackground(options, placeAt(path, ownFolder));
}

async function runInForeground(options: AgentOptions): Promise<void> {
  const activation: Activation =
    options.bindAddress === undefined ? findActivation(process.env, process.pid) : { kind: "none" };
  if (activation.kind === "bad") fail(activation.message, 255);
  if (activation.kind === "socket") {
    forgetActivation(process.env);
    const { serveActivated } = await import("./serve.ts");
    serveActivated(options, activation.descriptor, fail);
    return;
  }
  const place = choosePlace(options);
  const shell = options.shell ?? detectShell(process.env);
  const { serveInForeground } = await import("./serve.ts");
  const listening = () => writeSync(1, describeAgent(shell, place.shown, undefined));
  serveInForeground(options, place, listening, (sentence) => {
    if (place.ownFolder !== undefined) removeSocket(place);
    fail(sentence);
  });
}

function end(options: AgentOptions): void {
  try {
    writeSync(1, endAgent(process.env, options.shell));
  } catch (error) {
    fail(reasonOf(error));
  }
}

/** `-u`: removes the sockets that killed agents left in the default place. */
async function clean(options: AgentOptions): Promise<void> {
  const { removeStaleSockets } = await import("./host/stale-sockets.ts");
  const folder = homeFolder();
  try {
    await removeStaleSockets(folder, options.cleansAllHosts ? "" : hostPrefix());
  } catch (error) {
    fail(`opendir "${folder}": ${systemWords(error)}`);
  }
  writeSync(1, "Deleted stale agent sockets in ~/.ssh/agent\n");
}

/** The C library's words for a system's error. */
function systemWords(error: unknown): string {
  if (!(error instanceof Error && "errno" in error)) return reasonOf(error);
  const [, words] = getSystemErrorMap().get(Number(error.errno)) ?? [];
  return words === undefined ? reasonOf(error) : words.charAt(0).toUpperCase() + words.slice(1);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : "unknown error";
}

function fail(message: string, status = 1): never {
  writeSync(2, `${message}\n`);
  process.exit(status);
}
