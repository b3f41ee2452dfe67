/** What a command works with; it is handed all of it, and looks for nothing elsewhere. */
import type { AgentClient } from "../protocol/client.ts";
import type { Console, Debug } from "./console.ts";
import type { Options } from "./options.ts";
import type { Prompter } from "./prompts/prompter.ts";

/** The surroundings of one run. */
export interface Context {
  readonly client: AgentClient;
  readonly options: Options;
  readonly console: Console;
  readonly prompter: Prompter;
  /** What -v adds. */
  readonly debug: Debug;
  /** The environment variables that were given. */
  readonly env: NodeJS.ProcessEnv;
  /** Seconds since 1970. */
  readonly now: () => number;
}

/** A command: it says what it did and returns the exit status. */
export type Command = (context: Context) => Promise<number>;
