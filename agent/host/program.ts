/** Where this program's own files are, and how it starts another process with them. */
import { realpathSync } from "node:fs";

/** The file of the running program, without symbolic links such as npm makes in a `bin` folder. */
export function programPath(): string {
  return realpathSync(process.argv[1] ?? "");
}

/**
 * The options for Node.js that a process of ours is started with: SIGUSR1 opens no debugger, not even
 * before there is a handler for it. Node.js 20 has no such option.
 */
export function nodeArguments(): string[] {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const since: Partial<Record<number, number>> = { 20: Infinity, 21: Infinity, 22: 14, 23: 7 };
  return minor >= (since[major] ?? 0) ? ["--disable-sigusr1"] : [];
}
