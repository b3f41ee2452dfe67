/** Where this program's own files are. */
import { realpathSync } from "node:fs";

/** The file of the running program, without symbolic links such as npm makes in a `bin` folder. */
export function programPath(): string {
  return realpathSync(process.argv[1] ?? "");
}
