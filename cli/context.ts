/** Everything that a command depends on. */
import type { AgentClient } from "../protocol/client.ts";
import type { Console, Debug } from "./console.ts";
import type { Options } from "./options.ts";
import type { Prompter } from "./prompts/prompter.ts";

/** The context of one run. */
export interface Context {
  readonly client: AgentClient;
  readonly options: Options;
  readonly console: Console;
  /** A `Prompter`, or in cli/quick what only runs the askpass program. */
  readonly prompter: Pick<Prompter, keyof Prompter>;
  /** Writes the messages of -v. */
  readonly debug: Debug;
  readonly env: NodeJS.ProcessEnv;
  /** Seconds since 1970. */
  readonly now: () => number;
}

/** Runs a command, reports what it did, and returns the exit status. */
export type Command = (context: Context) => Promise<number>;
