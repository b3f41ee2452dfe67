/** ssh-add: adds, lists and removes an agent's keys, cards and certificates. */
import { closeSync, openSync } from "node:fs";
import { isatty } from "node:tty";
import { Exit } from "../openssh/exit.ts";
import { connectToAgent } from "./agent.ts";
import { commandFor } from "./commands/index.ts";
import { type Console, debugTo, errorText, processConsole } from "./console.ts";
import { parseOptions, usage } from "./options.ts";
import { Prompter } from "./prompts/prompter.ts";
import { rejectInvalidUri } from "./provider-path.ts";

/** The package's version, set by the build. */
const version = process.env.CARDAGENT_VERSION ?? "of the source";

/** Runs the program. @returns the exit status */
async function run(words: readonly string[], console: Console): Promise<number> {
  const { env } = process;
  const options = await parseOptions(words);
  if (options.action === "version") {
    console.print(`cardagent ${version}`);
    return 0;
  }
  if (options.action === "help") {
    const { helpText } = await import("./help.ts");
    console.paint(await helpText());
    return 0;
  }
  if (rejectInvalidUri(options, console)) return 1;
  const client = await connectToAgent(env);
  try {
    const debug = debugTo(console, options.verbosity);
    const prompter = new Prompter(console, env, debug);
    const now = () => Math.floor(Date.now() / 1000);
    const command = await commandFor(options.action);
    return await command({ client, options, console, prompter, debug, env, now });
  } finally {
    client.close();
  }
}

/** Prints the message of an error. @returns the exit status */
function report(error: unknown, console: Console): number {
  if (!(error instanceof Exit)) {
    console.note(`ssh-add: ${errorText(error)}`);
    return 1;
  }
  const { message, isLogged, showsUsage } = error;
  if (message !== "" && isLogged) console.log(message);
  else if (message !== "") console.note(message);
  if (showsUsage) for (const line of usage.split("\n")) console.note(line);
  return error.status;
}

/**
 * Ends the program. On exit, Node.js restores the terminals of its open standard streams, and aborts
 * with a stack trace if one has hung up; so replace all that are no longer terminals. They stay open, since
 * koffi's add-on complains of one that is closed.
 */
function end(status: number): never {
  for (const descriptor of [0, 1, 2]) {
    if (isatty(descriptor)) continue;
    try {
      closeSync(descriptor);
    } catch {
      // already closed
    }
    try {
      openSync("/dev/null", "r+"); // takes the lowest free descriptor
    } catch {
      // not there
    }
  }
  process.exit(status);
}

// Agents show this name when they ask the user to confirm a request.
process.title = "ssh-add";

const console = processConsole();
process.on("uncaughtException", (error) => end(report(error, console)));
run(process.argv.slice(2), console)
  .catch((error: unknown) => report(error, console))
  .then(end);
