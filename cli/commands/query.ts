/** `ssh-add -Q`: lists the protocol extensions that the agent supports. */
import { AgentRefusal } from "../../protocol/client.ts";
import { explain, explainRefusal, refusalText } from "../agent.ts";
import type { Context } from "../context.ts";

/** The exit status when the agent does not tell, as in OpenSSH. */
const fatalStatus = 255;

/** Prints one extension per line. */
export async function query({ client, console, options }: Context): Promise<number> {
  let names: string[];
  try {
    names = await client.query();
  } catch (error) {
    console.log(`unable to query supported extensions: ${refusalText(error)}`);
    const isExplained = await explainRefusal(client, console, error);
    if (!isExplained && error instanceof AgentRefusal) {
      explain(console, "This agent cannot list its extensions.", "");
    }
    return fatalStatus;
  }
  if (options.json) {
    const { extensionsAsJson } = await import("../json.ts");
    console.print(extensionsAsJson(names));
    return 0;
  }
  for (const name of names) console.print(name);
  return 0;
}
