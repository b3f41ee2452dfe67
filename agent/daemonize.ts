/**
 * Starts an agent in the background. Node.js cannot fork, so the agent is a new process, and this one
 * waits until it serves or reports why it failed.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { writeSync } from "node:fs";
import { Readable } from "node:stream";
import { detectShell, type Shell, setVariable } from "./host/environment.ts";
import { inheritedDescriptors, inheritedFileLimit } from "./host/inheritance.ts";
import { cleanNodeEnvironment } from "./host/node-environment.ts";
import { ownCommand } from "./host/program.ts";
import type { SocketPaths } from "./host/socket-path.ts";
import { errorText, StartError } from "./host/start-error.ts";
import { type AgentOptions, servingArguments } from "./options.ts";
import { readReports, reportDescriptor } from "./start-report.ts";

/** An agent that serves. */
interface StartedAgent {
  readonly pid: number;
  readonly paths: SocketPaths;
}

/**
 * Starts an agent, prints the commands that set the shell's variables, and exits.
 * @throws {StartError}
 */
export async function startForShell(options: AgentOptions): Promise<never> {
  const { pid, paths } = await start(options, 0);
  try {
    const shell = options.shell ?? detectShell(process.env);
    writeSync(1, shellCommands(shell, paths.givenPath, pid));
  } catch (error) {
    await end(pid, paths); // the user does not know of it
    const isSystemError = error instanceof Error && "errno" in error;
    throw new StartError(isSystemError ? `standard output: ${errorText(error)}` : errorText(error));
  }
  process.exit(0);
}

/**
 * Starts an agent for a command, and replaces this process by the command.
 * @throws {StartError}
 */
export async function startForCommand(options: AgentOptions): Promise<never> {
  // Before the agent is started: Node.js opens a pipe for that.
  const descriptors = inheritedDescriptors();
  const { pid, paths } = await start(options, process.pid);
  const status = await execCommand(options.command, paths.givenPath, pid, descriptors);
  await end(pid, paths);
  process.exit(status);
}

// socket-path.ts is imported on demand: it loads OpenSSL, which takes as long as all the rest.

async function end(pid: number, paths: SocketPaths): Promise<void> {
  process.kill(pid, "SIGTERM");
  const { removeSocket } = await import("./host/socket-path.ts");
  removeSocket(paths); // now, without waiting for the agent to do it
}

/**
 * The commands for the shell to evaluate.
 * @param pid of the agent; undefined if this process is the agent, in the foreground
 */
export function shellCommands(shell: Shell, path: string, pid: number | undefined): string {
  const socket = setVariable(shell, "SSH_AUTH_SOCK", path);
  if (pid === undefined) return `${socket}echo Agent pid ${process.pid};\n`;
  return `${socket}${setVariable(shell, "SSH_AGENT_PID", String(pid))}echo Agent pid ${pid};\n`;
}

/** @param parent the process with which the agent ends; 0 for none */
async function start(options: AgentOptions, parent: number): Promise<StartedAgent> {
  const child = launch(options, parent);
  // If the process cannot be started, it has no pid and no pipe.
  const pipe: unknown = child.stdio?.[reportDescriptor];
  if (child.pid === undefined || !(pipe instanceof Readable)) {
    throw new StartError("Cannot start the agent's process. Check ulimit -u and ulimit -n.");
  }
  const outcome = await readReports(pipe);
  switch (outcome.type) {
    case "serving":
      return { pid: child.pid, paths: outcome.paths };
    case "failed":
      throw new StartError(outcome.sentence, outcome);
    case "silent": {
      const how = await exitOf(child);
      for (const paths of outcome.tried) await removeLeftOver(paths);
      throw new StartError(`The agent's process was ended ${how} before it served.`);
    }
  }
}

function launch(options: AgentOptions, parent: number): ChildProcess {
  const serving = { parent, starter: process.ppid };
  const { file, args } = ownCommand(servingArguments(serving, options));
  const env = cleanNodeEnvironment(process.env);
  const stdio = ["ignore", "ignore", "ignore", "pipe"] as const;
  const child = spawn(file, args, { detached: true, stdio: [...stdio], env });
  child.on("error", () => {}); // the missing pid tells
  return child;
}

/** Waits for a process to exit; resolves with a description of its exit. */
function exitOf(child: ChildProcess): Promise<string> {
  const describe = (code: number | null, signal: string | null) =>
    signal === null ? `with status ${code}` : `by ${signal}`;
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve(describe(child.exitCode, child.signalCode));
    } else child.once("exit", (code, signal) => resolve(describe(code, signal)));
  });
}

/** Removes the socket of an agent that has exited, unless another process listens there. */
async function removeLeftOver(paths: SocketPaths): Promise<void> {
  const { refusesConnections } = await import("./host/stale-sockets.ts");
  const { removeSocket } = await import("./host/socket-path.ts");
  const isStale = await refusesConnections(paths.path);
  removeSocket(isStale ? paths : { ...paths, path: paths.bindPath });
}

/** Replaces this process by the command; returns an exit status if that fails. */
async function execCommand(
  command: readonly string[],
  path: string,
  pid: number,
  descriptors: readonly number[],
): Promise<number> {
  const [file = "", ...args] = command;
  const { loadLibc } = await import("./host/libc.ts");
  process.env.SSH_AUTH_SOCK = path;
  process.env.SSH_AGENT_PID = String(pid);
  const reason = loadLibc().execute(file, args, descriptors, inheritedFileLimit());
  writeSync(2, file === "" ? `${reason}\n` : `${file}: ${reason}\n`);
  return 1;
}
