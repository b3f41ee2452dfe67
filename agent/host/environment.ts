/** What `ssh-agent` prints for a shell to evaluate. */

/** The kind of shell. */
export type Shell = "csh" | "sh";

/** The kind of the user's shell, by SHELL. */
export function detectShell(environment: NodeJS.ProcessEnv): Shell {
  return environment.SHELL?.endsWith("csh") === true ? "csh" : "sh";
}

/** A line that sets a variable. */
export function setVariable(shell: Shell, name: string, value: string): string {
  return shell === "csh" ? `setenv ${name} ${value};\n` : `${name}=${value}; export ${name};\n`;
}

/** A line that takes a variable away. */
export function unsetVariable(shell: Shell, name: string): string {
  return shell === "csh" ? `unsetenv ${name};\n` : `unset ${name};\n`;
}
