/** The command line of the benchmark. */
import { parseArgs } from "node:util";

/** The names of measurements, as in `--only`. */
export const subjects = [
  "rsa",
  "ecdsa",
  "ed25519",
  "card-rsa",
  "card-ecdsa",
  "card-load",
  "card-memory",
  "list",
  "start",
  "memory",
  "upstream",
] as const;
export type Subject = (typeof subjects)[number];

export interface BenchOptions {
  /** Those of `--only`; by default, all. */
  readonly subjects: ReadonlySet<Subject>;
  /** Seconds of signing for one agent in one round. */
  readonly seconds: number;
  /** Rounds of signing, in each of which the agents take turns. */
  readonly rounds: number;
  /** Runs of each whole program. */
  readonly runs: number;
  /** Keys in a full agent. */
  readonly manyKeys: number;
}

export const usage = `usage: npm run bench -- [--quick] [--seconds N] [--rounds N] [--runs N]
                        [--only SUBJECT,...] [--programs DIR]

  --quick      a short run, to see that it runs; its figures mean little
  --seconds N  seconds of signing for one agent in one round (1)
  --rounds N   rounds of signing (5)
  --runs N     runs of each whole program (40)
  --only LIST  of: ${subjects.join(", ")}
  --programs DIR  the folder of cardagent's programs (dist/bin)
`;

/**
 * Parses the command line.
 * @returns undefined for --help
 * @throws {Error} for an invalid command line
 */
export function parseOptions(args: readonly string[]): BenchOptions | undefined {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      seconds: { type: "string" },
      rounds: { type: "string" },
      runs: { type: "string" },
      only: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return undefined;
  const { quick } = values;
  return {
    subjects: readSubjects(values.only),
    seconds: readNumber("seconds", values.seconds, quick ? 0.2 : 1),
    rounds: readNumber("rounds", values.rounds, quick ? 1 : 5),
    runs: readNumber("runs", values.runs, quick ? 3 : 40),
    manyKeys: 1900,
  };
}

function readSubjects(list: string | undefined): ReadonlySet<Subject> {
  if (list === undefined) return new Set(subjects);
  const chosen = list.split(",").map((name) => {
    const subject = subjects.find((known) => known === name);
    if (subject === undefined) throw new Error(`--only does not know "${name}".\n\n${usage}`);
    return subject;
  });
  return new Set(chosen);
}

function readNumber(name: string, text: string | undefined, byDefault: number): number {
  if (text === undefined) return byDefault;
  const number = Number(text);
  if (text.trim() === "" || !(number > 0)) {
    throw new Error(`--${name} takes a number above zero, not "${text}".`);
  }
  return number;
}
