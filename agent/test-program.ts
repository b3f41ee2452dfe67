/** For tests: the program `ssh-agent`, and the system's `ssh-add` to talk to it. */
import { sshAgent } from "../fixtures/programs.ts";
import { systemSshAdd } from "../fixtures/system-programs.ts";
import type { Workspace } from "../fixtures/workspace.ts";

/** An agent in the background. */
interface Started {
  readonly socket: string;
  readonly pid: number;
}

/** Starts an agent in the background, as `eval $(ssh-agent …)` does. */
export async function start(
  workspace: Workspace,
  args: string[] = [],
  program = sshAgent,
): Promise<Started> {
  const output = await workspace.expect(program, args);
  const [, socket = ""] = /^SSH_AUTH_SOCK=(.*); export SSH_AUTH_SOCK;$/m.exec(output) ?? [];
  const [, pid = ""] = /^SSH_AGENT_PID=(\d+); export SSH_AGENT_PID;$/m.exec(output) ?? [];
  workspace.adopt(Number(pid));
  return { socket, pid: Number(pid) };
}

/** Runs the system's ssh-add against an agent. */
export function add(workspace: Workspace, socket: string, args: string[]) {
  return workspace.run(systemSshAdd(), args, { env: { SSH_AUTH_SOCK: socket } });
}
