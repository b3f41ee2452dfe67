/**
 * Starts an agent in the background. Node.js cannot fork, so the agent is a new process; this one waits
 * until that serves, or tells why it does not.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { writeSync } from "node:fs";
import { Readable } from "node:stream";
import { detectShell, type Shell, setVariable } from "./host/environment.ts";
import { inheritedDescriptors, inheritedFileLimit } from "./host/inheritance.ts";
import { cleanNodeEnvironment } from "./host/node-environment.ts";
import { programPath } from "./host/program.ts";
import type { SocketPlace } from "./host/socket-path.ts";
import { StartError, systemWords } from "./host/start-error.ts";
import { type AgentOptions, servingArguments } from "./options.ts";
import { readReports, reportDescriptor } from "./start-report.ts";

/** An agent that serves. */
interface StartedAgent {
  readonly pid: number;
  readonly place: SocketPlace;
}

/**
 * Starts an agent, prints what a shell needs to know of it, and ends.
 * @throws {StartError}
 */
export async function startForShell(options: AgentOptions): Promise<never> {
  const { pid, place } = await start(options, 0);
  try {
    const shell = options.shell ?? detectShell(process.env);
    writeSync(1, describeAgent(shell, place.shown, pid));
  } catch (error) {
    await end(pid, place); // nobody would know of it
    const isOfSystem = error instanceof Error && "errno" in error;
    throw new StartError(
      isOfSystem ? `standard output: ${systemWords(error)}` : systemWords(error),
    );
  }
  process.exit(0);
}

/**
 * Starts an agent for a command, and becomes that command.
 * @throws {StartError}
 */
export async function startForCommand(options: AgentOptions): Promise<never> {
  // Taken before the agent is started: Node.js opens a pipe for that.
  const descriptors = inheritedDescriptors();
  const { pid, place } = await start(options, process.pid);
  const status = await becomeCommand(options.command, place.shown, pid, descriptors);
  await end(pid, place);
  process.exit(status);
}

// What removes sockets is loaded only then: it takes OpenSSL, which costs as much as the rest.

async function end(pid: number, place: SocketPlace): Promise<void> {
  process.kill(pid, "SIGTERM");
  const { removeSocket } = await import("./host/socket-path.ts");
  removeSocket(place); // sooner than the agent does it
}

/** The lines that a shell evaluates. Without a pid they are those of an agent in the foreground. */
export function describeAgent(shell: Shell, path: string, pid: number | undefined): string {
  const socket = setVariable(shell, "SSH_AUTH_SOCK", path);
  if (pid === undefined) return `${socket}echo Agent pid ${process.pid};\n`;
  return `${socket}${setVariable(shell, "SSH_AGENT_PID", String(pid))}echo Agent pid ${pid};\n`;
}

/** @param parent the process that the agent ends with; 0 for none */
async function start(options: AgentOptions, parent: number): Promise<StartedAgent> {
  const child = launch(options, parent);
  // Without descriptors there is none, and no number.
  const pipe: unknown = child.stdio?.[reportDescriptor];
  if (child.pid === undefined || !(pipe instanceof Readable)) {
    throw new StartError("The agent's process cannot be started. Look at ulimit -u and ulimit -n.");
  }
  const outcome = await readReports(pipe);
  switch (outcome.type) {
    case "serving":
      return { pid: child.pid, place: outcome.place };
    case "failed":
      throw new StartError(outcome.sentence, outcome);
    case "silent": {
      const how = await endOf(child);
      for (const place of outcome.places) await removeLeftOver(place);
      throw new StartError(`The agent's process was ended ${how} before it served.`);
    }
  }
}

function launch(options: AgentOptions, parent: number): ChildProcess {
  const serving = { parent, starter: process.ppid };
  const args = [programPath(), ...servingArguments(serving, options)];
  const env = cleanNodeEnvironment(process.env);
  const stdio = ["ignore", "ignore", "ignore", "pipe"] as const;
  const child = spawn(process.execPath, args, { detached: true, stdio: [...stdio], env });
  // Told of by the missing pid.
  child.on("error", () => {});
  return child;
}

/** How a process ended, or ends now. */
function endOf(child: ChildProcess): Promise<string> {
  const describe = (code: number | null, signal: string | null) =>
    signal === null ? `with status ${code}` : `by ${signal}`;
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) {
      resolve(describe(child.exitCode, child.signalCode));
    } else child.once("exit", (code, signal) => resolve(describe(code, signal)));
  });
}

/** Removes the socket of an agent that was ended, unless somebody else listens there. */
async function removeLeftOver(place: SocketPlace): Promise<void> {
  const { refusesConnections } = await import("./host/stale-sockets.ts");
  const { removeSocket } = await import("./host/socket-path.ts");
  const isDead = await refusesConnections(place.path);
  removeSocket(isDead ? place : { ...place, path: place.passing });
}

/** Replaces this process by the command; comes back with an exit status only if it cannot. */
async function becomeCommand(
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
