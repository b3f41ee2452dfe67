/** Where this program's own files are, and how its processes are started. */
import { realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { isSea } from "node:sea";

/** A program and its arguments. */
export interface Command {
  readonly file: string;
  readonly args: readonly string[];
}

/** The file of the running program, without symbolic links such as npm makes in a `bin` folder. */
function programPath(): string {
  return isSea() ? process.execPath : realpathSync(process.argv[1] ?? "");
}

/** Starts the running program again. */
export function ownCommand(args: readonly string[]): Command {
  return isSea()
    ? { file: programPath(), args }
    : { file: process.execPath, args: [programPath(), ...args] };
}

/** Starts the child process of a PKCS#11 library. */
export function pkcs11ChildCommand(): Command {
  const path = join(dirname(programPath()), "..", "lib", "pkcs11-child");
  return isSea() ? { file: path, args: [] } : { file: process.execPath, args: [`${path}.js`] };
}
