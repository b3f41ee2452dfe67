/** What `-v` adds, in the form of OpenSSH's debugging lines. */
import type { Console } from "./console.ts";

/** Says what goes on, to those who asked for that much: one -v for level 1, two for level 2. */
export type Debug = (level: 1 | 2 | 3, line: string) => void;

/** Debugging lines on standard error. @param verbosity how many -v were given */
export function debugTo(console: Console, verbosity: number): Debug {
  return (level, line) => {
    if (verbosity >= level) console.log(`debug${level}: ${line}`);
  };
}
