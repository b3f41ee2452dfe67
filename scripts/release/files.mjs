// What all parts of the release share.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

/** The project's folder. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** Runs a program; its output is the terminal's. @throws if it fails */
export function run(program, ...args) {
  runIn(process.cwd(), program, ...args);
}

/** Runs a program in a folder. @throws if it fails */
export function runIn(folder, program, ...args) {
  execFileSync(program, args, { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
}

/** The hash of a file, in hexadecimal. */
export function hash(algorithm, file) {
  return createHash(algorithm).update(readFileSync(file)).digest("hex");
}
