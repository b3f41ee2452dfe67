/** `ssh-add --list-providers`: the PKCS#11 providers that the agent has loaded, and their keys. */
import { AgentRefusal } from "../../protocol/client.ts";
import type { ProviderDescription } from "../../protocol/extensions/list-providers.ts";
import type { Identity } from "../../protocol/replies.ts";
import { explain, explainRefusal, refusalText } from "../agent.ts";
import type { Context } from "../context.ts";
import { plainLines } from "../providers-plain.ts";

/** Lists the providers: a tree on a terminal, else a line for each thing. Status 1 for none. */
export async function listProviders(context: Context): Promise<number> {
  const { client, console, options } = context;
  let providers: readonly ProviderDescription[];
  let identities: readonly Identity[];
  try {
    providers = await client.listProviders();
    identities = await client.identities();
  } catch (error) {
    await refuse(context, error);
    return 1;
  }
  const status = providers.length === 0 ? 1 : 0;
  if (options.json) {
    const { providersAsJson } = await import("../json.ts");
    console.print(providersAsJson(providers, identities, options.hash));
    return status;
  }
  if (providers.length === 0) console.print("The agent has no providers.");
  for (const line of await lines(context, providers, identities)) console.print(line);
  return status;
}

async function lines(
  context: Context,
  providers: readonly ProviderDescription[],
  identities: readonly Identity[],
): Promise<string[]> {
  const { console, env, now, options } = context;
  const view = { providers, identities, hash: options.hash, now: now() };
  if (!console.outputIsTerminal) return plainLines(view);
  const { treeLines } = await import("../providers-tree.ts");
  return treeLines(view, Boolean(env.NO_COLOR));
}

async function refuse({ client, console }: Context, error: unknown): Promise<void> {
  console.note(`Could not list providers: ${refusalText(error)}`);
  if (await explainRefusal(client, console, error)) return;
  if (error instanceof AgentRefusal) {
    explain(
      console,
      "This agent does not tell which providers it has.",
      "Use cardagent's ssh-agent.",
    );
  }
}
