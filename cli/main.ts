/** ssh-add: adds keys, cards and certificates to an agent, lists them and removes them. */
import { closeSync } from "node:fs";
import { isatty } from "node:tty";
import { Exit } from "../openssh/exit.ts";
import { connectToAgent } from "./agent.ts";
import { commandFor } from "./commands/index.ts";
import { type Console, debugTo, errorText, processConsole } from "./console.ts";
import { type Options, parseOptions, usage } from "./options.ts";
import { Prompter } from "./prompts/prompter.ts";
import { refusesProvider } from "./provider-path.ts";

/** The version of the package, set when the program is built. */
const version = process.env.CARDAGENT_VERSION ?? "of the source";

/** Runs the program. @returns the exit status */
async function run(words: readonly string[], console: Console): Promise<number> {
  // As in OpenSSH, a missing agent is told of before a wrong command line is.
  const options = await parseOptions(words).catch((error: unknown) => asExit(error));
  if (!(options instanceof Exit)) {
    if (isAboutItself(options)) return tellAboutItself(options, console);
    if (refusesProvider(options, console)) return 1;
  }
  const { env } = process;
  const client = await connectToAgent(env);
  try {
    if (options instanceof Exit) throw options;
    const debug = debugTo(console, options.verbosity);
    const prompter = new Prompter(console, env, debug);
    const now = () => Math.floor(Date.now() / 1000);
    const command = await commandFor(options.action);
    return await command({ client, options, console, prompter, debug, env, now });
  } finally {
    client.close();
  }
}

function isAboutItself({ action }: Options): boolean {
  return action === "help" || action === "version";
}

async function tellAboutItself({ action }: Options, console: Console): Promise<number> {
  if (action === "version") {
    console.print(`cardagent ${version}`);
    return 0;
  }
  const { helpText } = await import("./help.ts");
  console.paint(await helpText());
  return 0;
}

function asExit(error: unknown): Exit {
  if (error instanceof Exit) return error;
  throw error;
}

/** Says how a run ended that was broken off. @returns the exit status */
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
 * Ends the program. Node.js puts the terminals of its standard streams back, and aborts with a stack
 * trace if one of them is gone: it leaves those alone that are closed.
 */
function end(status: number): never {
  for (const descriptor of [0, 1, 2]) {
    if (isatty(descriptor)) continue;
    try {
      closeSync(descriptor);
    } catch {
      // it was closed before
    }
  }
  process.exit(status);
}

// The name that others see: agents show it to the user who confirms a request.
process.title = "ssh-add";

const console = processConsole();
process.on("uncaughtException", (error) => end(report(error, console)));
run(process.argv.slice(2), console)
  .catch((error: unknown) => report(error, console))
  .then(end);
