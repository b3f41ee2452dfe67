/** `ssh-add -Q`: which protocol extensions the agent knows. */
import { explainRefusal, refusalText } from "../agent.ts";
import type { Context } from "../context.ts";

/** Prints the extensions, one a line. */
export async function query({ client, console, options }: Context): Promise<number> {
  let names: string[];
  try {
    names = await client.query();
  } catch (error) {
    console.log(`unable to query supported extensions: ${refusalText(error)}`);
    await explainRefusal(client, console, error);
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
