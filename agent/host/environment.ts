/** What `ssh-agent` prints for a shell to evaluate. */

/** The kind of shell. */
export type Shell = "csh" | "sh";

/** The kind of the user's shell, by SHELL. */
export function detectShell(environment: NodeJS.ProcessEnv): Shell {
  return environment.SHELL?.endsWith("csh") === true ? "csh" : "sh";
}

/**
 * A line that sets a variable. The value is one word for the shell, whatever it holds; a common path
 * is printed as OpenSSH prints it. Everything else survives ``eval `ssh-agent` `` too, where the shell
 * splits the line at blanks, joins it again, and takes what looks like a pattern for file names.
 * @throws an Error for a value that no text can bring into a csh
 */
export function setVariable(shell: Shell, name: string, value: string): string {
  if (shell === "sh") return `${name}=${shValue(name, value)}; export ${name};\n`;
  if (value.includes("\n")) throw new Error("A csh takes no path with a line break.");
  return `setenv ${name} ${cshWord(value)};\n`;
}

/** A line that takes a variable away. */
export function unsetVariable(shell: Shell, name: string): string {
  return shell === "csh" ? `unsetenv ${name};\n` : `unset ${name};\n`;
}

function shValue(name: string, value: string): string {
  if (isPlain(value)) return value;
  if (isPlainInQuotes(value)) return `'${value}'`;
  // The shell takes line breaks off the end of an output, unless something follows.
  const isCut = value.endsWith("\n");
  return isCut ? `"$(${printfOf(value)}.)"; ${name}="\${${name}%.}"` : `"$(${printfOf(value)})"`;
}

function cshWord(value: string): string {
  if (isPlain(value)) return value;
  return isPlainInQuotes(value) ? `'${value}'` : `"\`${printfOf(value)}\`"`;
}

/** Whether no shell sees anything in a word but its letters. */
function isPlain(value: string): boolean {
  return /^[\w@%+:,./][\w@%+:,./-]*$/.test(value);
}

/**
 * Whether a word may stand in quotes as it is: without what ends them, is a pattern, or changes when
 * the line is split at blanks and joined again.
 */
function isPlainInQuotes(value: string): boolean {
  return /^([\w@%+:,./=$"`&;#-]|[^\p{ASCII}\s]| (?! |$))+$/u.test(value);
}

/** A command that prints a value; all but letters and digits are in octal. */
function printfOf(value: string): string {
  let format = "";
  for (const byte of Buffer.from(value)) {
    const character = String.fromCharCode(byte);
    const isPlainByte = /[\w./-]/.test(character) && format !== "";
    format += isPlainByte ? character : `\\${byte.toString(8).padStart(3, "0")}`;
  }
  return `printf '${format}'`;
}
