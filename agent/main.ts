/** The program `ssh-agent`. */
import { writeSync } from "node:fs";
import { Exit } from "../openssh/exit.ts";
import { escapeLogLine } from "../openssh/text-for-display.ts";
import { shellCommands, startForCommand, startForShell } from "./daemonize.ts";
import {
  type Activation,
  activationDescriptor,
  clearActivation,
  findActivation,
} from "./host/activation.ts";
import { detectShell } from "./host/environment.ts";
import { restoreNodeEnvironment } from "./host/node-environment.ts";
import type { SocketPaths } from "./host/socket-path.ts";
import { errorText, StartError } from "./host/start-error.ts";
import { killAgent } from "./kill.ts";
import { type AgentOptions, parseOptions, usage } from "./options.ts";
import { report } from "./start-report.ts";

main();

function main(): void {
  // Until an agent serves, an unexpected error ends the program, with its message and no stack.
  process.once("uncaughtException", (error) => fail(errorText(error)));
  const hadNodeVariables = restoreNodeEnvironment(process.env);
  try {
    const options = parseOptions(process.argv.slice(2));
    run(options, hadNodeVariables).catch((error: unknown) => reportFailure(error, options));
  } catch (error) {
    if (!(error instanceof Exit)) throw error;
    const { message, isLogged } = error;
    const line = isLogged ? `${escapeLogLine(message)}\r\n` : `${message}\n`;
    writeSync(2, (message === "" ? "" : line) + (error.showsUsage ? usage : ""));
    process.exit(error.status);
  }
}

async function run(options: AgentOptions, hadNodeVariables: boolean): Promise<void> {
  switch (options.mode) {
    case "version":
      writeSync(2, `cardagent ${process.env.CARDAGENT_VERSION ?? ""}\n`);
      return;
    case "kill":
      writeSync(1, killAgent(process.env, options.shell));
      return;
    case "clean":
      return clean(options);
    case "serve":
      return serve(options);
    case "foreground":
    case "debug":
      if (hadNodeVariables) return reexecClean();
      return runInForeground(options);
    case "background":
      return options.command.length > 0 ? startForCommand(options) : startForShell(options);
  }
}

/** The candidates for the agent's socket, in the order in which they are tried. */
async function socketCandidates(options: AgentOptions): Promise<readonly (() => SocketPaths)[]> {
  // Imported on demand: it loads OpenSSL, which a program that only starts an agent does not need.
  const { homeSocket, socketPaths, temporarySocket } = await import("./host/socket-path.ts");
  const { bindAddress, serving } = options;
  if (bindAddress !== undefined) return [() => socketPaths(bindAddress)];
  const temporary = () => temporarySocket(serving?.starter ?? process.ppid);
  return options.inTemporaryFolder ? [temporary] : [homeSocket, temporary];
}

async function serve(options: AgentOptions): Promise<void> {
  const { serveInBackground } = await import("./serve.ts");
  await serveInBackground(options, await socketCandidates(options));
}

async function runInForeground(options: AgentOptions): Promise<void> {
  const activation: Activation =
    options.bindAddress === undefined ? findActivation(process.env, process.pid) : { kind: "none" };
  if (activation.kind === "bad") throw new StartError(activation.message, { status: 255 });
  const { serveActivated, serveInForeground } = await import("./serve.ts");
  if (activation.kind === "socket") {
    clearActivation(process.env);
    return serveActivated(options, activation.descriptor);
  }
  const shell = options.shell ?? detectShell(process.env);
  await serveInForeground(options, await socketCandidates(options), ({ givenPath }) => {
    writeSync(1, shellCommands(shell, givenPath, undefined));
  });
}

/** Executes this program again without the variables that may have loaded code or opened a debugger. */
async function reexecClean(): Promise<never> {
  const { inheritedFileLimit } = await import("./host/inheritance.ts");
  // Pass on no other descriptor: it may be a debugger's.
  const descriptors = process.env.LISTEN_FDS === undefined ? [] : [activationDescriptor];
  const { loadLibc } = await import("./host/libc.ts");
  const { cleanNodeEnvironment } = await import("./host/node-environment.ts");
  const { ownCommand } = await import("./host/program.ts");
  for (const [name, value] of Object.entries(cleanNodeEnvironment(process.env))) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
  const { file, args } = ownCommand(process.argv.slice(2));
  const limit = inheritedFileLimit();
  throw new StartError(loadLibc().execute(file, args, descriptors, limit));
}

/** `-u`: removes the stale sockets in ~/.ssh/agent. */
async function clean(options: AgentOptions): Promise<void> {
  const { removeStaleSockets } = await import("./host/stale-sockets.ts");
  const { defaultFolder, hostPrefix } = await import("./host/socket-path.ts");
  const folder = defaultFolder();
  if (folder === undefined) throw new StartError("No home directory; set HOME.");
  try {
    await removeStaleSockets(folder, options.cleansAllHosts ? "" : hostPrefix());
  } catch (error) {
    throw new StartError(`opendir "${folder}": ${errorText(error)}`);
  }
  writeSync(1, "Deleted stale agent sockets in ~/.ssh/agent\n");
}

/** Exits with an error, which goes to standard error or to the program that started this agent. */
function reportFailure(error: unknown, options: AgentOptions): never {
  const sentence = error instanceof StartError ? error.message : errorText(error);
  const status = error instanceof StartError ? error.status : 1;
  if (options.mode !== "serve") fail(sentence, status);
  report({ type: "failed", sentence, status });
  process.exit(status);
}

function fail(message: string, status = 1): never {
  writeSync(2, `${message}\n`);
  process.exit(status);
}
