/**
 * Whom to ask for a secret or a confirmation, as OpenSSH chooses it: SSH_ASKPASS is run where there is
 * a display. SSH_ASKPASS_REQUIRE overrides this: "force" needs no display, "never" forbids the program,
 * and "prefer" has it asked before a terminal.
 */

const defaultProgram = "/usr/bin/ssh-askpass";

/** The askpass program: its path, or a name that is looked for in PATH. */
export function askpassProgram(env: NodeJS.ProcessEnv): string {
  return env.SSH_ASKPASS || defaultProgram;
}

/** Whether the askpass program may be run. */
export function mayRunAskpass(env: NodeJS.ProcessEnv): boolean {
  const requirement = askpassRequirement(env);
  if (requirement === "force") return true;
  return requirement !== "never" && Boolean(env.DISPLAY || env.WAYLAND_DISPLAY);
}

/** Whether the askpass program is asked even where there is a terminal. */
export function prefersAskpass(env: NodeJS.ProcessEnv): boolean {
  const isAsked = ["force", "prefer"].includes(askpassRequirement(env) ?? "");
  return isAsked && mayRunAskpass(env);
}

function askpassRequirement(env: NodeJS.ProcessEnv): string | undefined {
  return env.SSH_ASKPASS_REQUIRE?.toLowerCase();
}

/** Whether a byte ends an answer. A carriage return does too: some programs put one before the newline. */
export function endsAnswer(byte: number | undefined): boolean {
  return byte === 0x0a || byte === 0x0d;
}
