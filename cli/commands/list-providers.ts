/** `ssh-add --list-providers`: the agent's PKCS#11 providers, its upstream agents, and their keys. */
import { AgentRefusal } from "../../protocol/client.ts";
import type { ProviderDescription } from "../../protocol/extensions/list-providers.ts";
import type { UpstreamDescription } from "../../protocol/extensions/list-upstreams.ts";
import type { Identity } from "../../protocol/replies.ts";
import { explain, explainRefusal, refusalText, renewalsOrNone, upstreamsOrNone } from "../agent.ts";
import type { Context } from "../context.ts";
import { type ProvidersView, plainLines } from "../providers-plain.ts";

/** Lists them: as a tree on a terminal, else as lines. Exit status 1 if there are none. */
export async function listProviders(context: Context): Promise<number> {
  const { client, console, options } = context;
  let providers: readonly ProviderDescription[];
  let upstreams: readonly UpstreamDescription[];
  let identities: readonly Identity[];
  try {
    // Alone, so that the reason of its refusal is not that of another request.
    providers = await client.listProviders();
    [upstreams, identities] = await Promise.all([upstreamsOrNone(client), client.identities()]);
  } catch (error) {
    await refuse(context, error);
    return 1;
  }
  const isEmpty = providers.length === 0 && upstreams.length === 0;
  const status = isEmpty ? 1 : 0;
  if (options.json) {
    const { providersAsJson } = await import("../json.ts");
    const renewals = await renewalsOrNone(client);
    const { hash } = options;
    console.print(providersAsJson(providers, { identities, renewals, upstreams, hash }));
    return status;
  }
  if (isEmpty) console.print("The agent has no providers.");
  const view = { providers, upstreams, identities, hash: options.hash, now: context.now() };
  await show(context, view);
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
