/**
 * When OpenSSH runs the askpass program: if there is a display, unless SSH_ASKPASS_REQUIRE is "never".
 * "force" needs no display; "force" and "prefer" take precedence over a terminal.
 */

const defaultProgram = "/usr/bin/ssh-askpass";

/** The askpass program: its path, or a name to look up in PATH. */
export function askpassProgram(env: NodeJS.ProcessEnv): string {
  return env.SSH_ASKPASS || defaultProgram;
}

/** Whether the askpass program may be run. */
export function mayRunAskpass(env: NodeJS.ProcessEnv): boolean {
  const requirement = askpassRequirement(env);
  if (requirement === "force") return true;
  return requirement !== "never" && Boolean(env.DISPLAY || env.WAYLAND_DISPLAY);
}

/** Whether to run the askpass program even at a terminal. */
export function prefersAskpass(env: NodeJS.ProcessEnv): boolean {
  return ["force", "prefer"].includes(askpassRequirement(env) ?? "") && mayRunAskpass(env);
}

function askpassRequirement(env: NodeJS.ProcessEnv): string | undefined {
  return env.SSH_ASKPASS_REQUIRE?.toLowerCase();
}

/** Whether a byte ends an answer: a newline, or the carriage return that some programs add. */
export function endsAnswer(byte: number | undefined): boolean {
  return byte === 0x0a || byte === 0x0d;
}
