/** `ssh-add --list-providers`: the agent's PKCS#11 providers and their keys. */
import { AgentRefusal } from "../../protocol/client.ts";
import type { ProviderDescription } from "../../protocol/extensions/list-providers.ts";
import type { Identity } from "../../protocol/replies.ts";
import { explain, explainRefusal, refusalText } from "../agent.ts";
import type { Context } from "../context.ts";
import { type ProvidersView, plainLines } from "../providers-plain.ts";

/** Lists the providers: as a tree on a terminal, else as lines. Exit status 1 if there are none. */
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
  await show(context, { providers, identities, hash: options.hash, now: context.now() });
  return status;
}

async function show({ console, env }: Context, view: ProvidersView): Promise<void> {
  if (console.outputIsTerminal) {
    const { treeLines } = await import("../providers-tree.ts");
    for (const line of treeLines(view, Boolean(env.NO_COLOR))) console.paint(line);
  } else {
    for (const line of plainLines(view)) console.print(line);
  }
}

async function refuse({ client, console }: Context, error: unknown): Promise<void> {
  console.note(`Could not list providers: ${refusalText(error)}`);
  if (await explainRefusal(client, console, error)) return;
  if (error instanceof AgentRefusal) {
    explain(console, "This agent cannot list its providers.", "Use cardagent's ssh-agent.");
  }
}
