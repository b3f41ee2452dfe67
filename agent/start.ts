/**
 * Starts an agent in the background. Node.js cannot fork, so this process binds the socket, hands
 * it to a new process, and is done: who connects before that process is ready just waits a moment.
 */
import { spawn } from "node:child_process";
import { writeSync } from "node:fs";
import { createServer } from "node:net";
import { descriptorOf } from "./host/descriptor.ts";
import { detectShell, type Shell, setVariable } from "./host/environment.ts";
import { inheritedDescriptors, inheritedFileLimit } from "./host/inheritance.ts";
import { plainNode } from "./host/plain-node.ts";
import { programPath } from "./host/program.ts";
import { listenAt, removeSocket, type SocketPlace } from "./host/socket-path.ts";
import { type AgentOptions, servingArguments } from "./options.ts";

/** The descriptor that the new process finds the socket at. */
const socketDescriptor = 3;

/** Starts an agent, prints what a shell needs to know of it, and ends. */
export function startForShell(options: AgentOptions, place: SocketPlace): void {
  start(options, place, 0, (pid) => {
    writeSync(1, describeAgent(options.shell ?? detectShell(process.env), place.shown, pid));
    process.exit(0);
  });
}

/** Starts an agent for a command, and becomes that command. */
export function startForCommand(options: AgentOptions, place: SocketPlace): void {
  // Taken before a server is made: Node.js opens more than that server.
  const descriptors = inheritedDescriptors();
  start(options, place, process.pid, (pid) => {
    void becomeCommand(options.command, place.shown, pid, descriptors).then((status) => {
      // The agent may not have come to the point where it would remove its socket itself.
      process.kill(pid, "SIGTERM");
      removeSocket(place);
      process.exit(status);
    });
  });
}

/** The lines that a shell evaluates. Without a pid they are those of an agent in the foreground. */
export function describeAgent(shell: Shell, path: string, pid: number | undefined): string {
  const socket = setVariable(shell, "SSH_AUTH_SOCK", path);
  if (pid === undefined) return `${socket}echo Agent pid ${process.pid};\n`;
  return `${socket}${setVariable(shell, "SSH_AGENT_PID", String(pid))}echo Agent pid ${pid};\n`;
}

function start(
  options: AgentOptions,
  place: SocketPlace,
  parent: number,
  started: (pid: number) => void,
): void {
  const fail = (sentence: string) => {
    if (place.ownFolder !== undefined) removeSocket(place);
    writeSync(2, `${sentence}\n`);
    process.exit(1);
  };
  const server = createServer();
  const listening = () => {
    const pid = launch(options, place, parent, descriptorOf(server));
    if (pid !== undefined) return started(pid);
    removeSocket(place);
    fail("The agent's process cannot be started.");
  };
  listenAt(server, place, listening, fail);
}

function launch(
  options: AgentOptions,
  place: SocketPlace,
  parent: number,
  descriptor: number,
): number | undefined {
  const ownsFolder = place.ownFolder !== undefined;
  const serving = { descriptor: socketDescriptor, parent, ownsFolder };
  const args = [programPath(), ...servingArguments(serving, place.path, options)];
  const env = plainNode(process.env);
  const stdio = ["ignore", "ignore", "ignore", descriptor] as const;
  const child = spawn(process.execPath, args, { detached: true, stdio: [...stdio], env });
  // Told of below, by the missing pid.
  child.on("error", () => {});
  return child.pid;
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
