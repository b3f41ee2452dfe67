/** `ssh-add -s LIB`, with the PIN from an askpass program. */
import { askpassProgram } from "../../openssh/askpass.ts";
import { connectToAgent } from "../agent.ts";
import { addCard } from "../commands/add-card.ts";
import { debugTo, errorText, processConsole } from "../console.ts";
import { parseOptions } from "../options.ts";
import { askProgram } from "./askpass.ts";

// JavaScriptCore has arrays of up to 1,000 bytes in its heap until a view of one is made: then it copies the
// array, and never overwrites the first copy. With a view from the start, nothing is copied.
Buffer.allocUnsafeSlow = (length) => Buffer.from(new ArrayBuffer(length));

/**
 * Loads a provider. @returns the exit status
 * @throws if the agent cannot be asked, or the program not be run; then nothing was printed
 */
export async function addCardQuickly(provider: string): Promise<number> {
  const { env } = process;
  const options = await parseOptions(["-s", provider]);
  const client = await connectToAgent(env);
  const console = processConsole();
  let wasAsked = false;
  const askOrCancel = (prompt: string) => {
    const answer = askProgram(askpassProgram(env), prompt);
    wasAsked = true;
    return Promise.resolve(answer);
  };
  const ask = async (prompt: string) => (await askOrCancel(prompt)) ?? Buffer.alloc(0);
  const prompter = { ask, askOrCancel, usesAskpass: true };
  const debug = debugTo(console, options.verbosity);
  const now = () => Math.floor(Date.now() / 1000);
  try {
    return await addCard({ client, options, console, prompter, debug, env, now });
  } catch (error) {
    if (!wasAsked) throw error;
    // A PIN is never sent twice.
    console.note(`ssh-add: ${errorText(error)}`);
    return 1;
  }
}
