/** `ssh-add -Q`: which protocol extensions the agent knows. */
import { AgentRefusal } from "../../protocol/client.ts";
import { explain, explainRefusal, refusalText } from "../agent.ts";
import type { Console } from "../console.ts";
import type { Context } from "../context.ts";

/** Prints the extensions, one a line. */
export async function query({ client, console, options }: Context): Promise<number> {
  let names: string[];
  try {
    names = await client.query();
  } catch (error) {
    console.log(`unable to query supported extensions: ${refusalText(error)}`);
    if (!(await explainRefusal(client, console, error))) explainAgent(console, error);
    return 1;
  }
  if (options.json) {
    const { extensionsAsJson } = await import("../json.ts");
    console.print(extensionsAsJson(names));
    return 0;
  }
  for (const name of names) console.print(name);
  return 0;
}

function explainAgent(console: Console, error: unknown): void {
  if (!(error instanceof AgentRefusal)) return;
  explain(console, "This agent does not tell which extensions it knows.", "");
}
