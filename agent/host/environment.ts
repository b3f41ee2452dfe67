/** The commands that `ssh-agent` prints for a shell to evaluate. */

/** The kind of shell. */
export type Shell = "csh" | "sh";

/** The kind of the user's shell, by SHELL. */
export function detectShell(environment: NodeJS.ProcessEnv): Shell {
  return environment.SHELL?.endsWith("csh") === true ? "csh" : "sh";
}

/**
 * The command that sets a variable. Common paths are printed as OpenSSH prints them. Others are quoted
 * so that they also survive an unquoted ``eval `ssh-agent` ``, in which the shell splits the output at
 * blanks, expands patterns, and joins the words again.
 * @throws an Error for a value that csh cannot take
 */
export function setVariable(shell: Shell, name: string, value: string): string {
  if (shell === "sh") return `${name}=${shValue(name, value)}; export ${name};\n`;
  if (value.includes("\n")) throw new Error("csh does not support paths with line breaks.");
  return `setenv ${name} ${cshWord(value)};\n`;
}

/** The command that unsets a variable. */
export function unsetVariable(shell: Shell, name: string): string {
  return shell === "csh" ? `unsetenv ${name};\n` : `unset ${name};\n`;
}

function shValue(name: string, value: string): string {
  if (isPlain(value)) return value;
  if (isPlainInQuotes(value)) return `'${value}'`;
  if (!value.endsWith("\n")) return `"$(${printfCommand(value)})"`;
  // Command substitution strips trailing line breaks, so print a dot after them and remove it.
  return `"$(${printfCommand(value)}.)"; ${name}="\${${name}%.}"`;
}

function cshWord(value: string): string {
  if (isPlain(value)) return value;
  return isPlainInQuotes(value) ? `'${value}'` : `"\`${printfCommand(value)}\`"`;
}

/** Whether no shell treats any character of a word specially. */
function isPlain(value: string): boolean {
  return /^[\w@%+:,./][\w@%+:,./-]*$/.test(value);
}

/**
 * Whether a word may stand in single quotes as it is: it has no quote and no pattern, and does not
 * change when the line is split at blanks and joined again.
 */
function isPlainInQuotes(value: string): boolean {
  return /^([\w@%+:,./=$"`&;#-]|[^\p{ASCII}\s]| (?! |$))+$/u.test(value);
}

/** A printf command that prints a value, with special characters in octal. */
function printfCommand(value: string): string {
  let format = "";
  for (const byte of Buffer.from(value)) {
    const character = String.fromCharCode(byte);
    const isPlainByte = /[\w./-]/.test(character) && format !== "";
    format += isPlainByte ? character : `\\${byte.toString(8).padStart(3, "0")}`;
  }
  return `printf '${format}'`;
}

/** Quotes a text as one word for a user to type in a shell; a plain path stays as it is. */
export function shellWord(text: string): string {
  return /^[\w./+-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
