/** `ssh-add -D`: unloads every PKCS#11 provider, then removes all identities. */

import { isPkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import type { ProviderDescription } from "../../protocol/extensions/list-providers.ts";
import { explainRefusal, listAfterwards, refusalText, tellStillListed } from "../agent.ts";
import type { Context } from "../context.ts";

/** Removes all. Exit status 1 when any part of it was refused; the rest is done all the same. */
export async function removeAll(context: Context): Promise<number> {
  const { client, console, options } = context;
  const unloaded = await unloadProviders(context);
  let refusal: unknown;
  try {
    await client.removeAllIdentities();
    if (!options.quiet) console.note("All identities removed.");
  } catch (error) {
    refusal = error;
    console.note("Failed to remove all identities.");
    await explainRefusal(client, console, error);
  }
  // Old agents keep identities of protocol 1 apart; what they answer to this does not matter.
  await client.removeAllRsaIdentities().catch(() => undefined);
  if (refusal === undefined) {
    tellStillListed(client, console, "notRemoved", await listAfterwards(client));
  }
  return unloaded && refusal === undefined ? 0 : 1;
}

/** @returns false when a provider would not go */
async function unloadProviders(context: Context): Promise<boolean> {
  const { client, console, options } = context;
  let complete = true;
  for (const { path } of await providers(context)) {
    try {
      await client.removeSmartcardKey(path);
      if (!options.quiet) console.note(`Card removed: ${path}`);
    } catch (error) {
      complete = false;
      console.note(`Could not remove card "${path}": ${refusalText(error)}`);
      await explainRefusal(client, console, error);
    }
  }
  return complete;
}

/**
 * The providers that are loaded; none from an agent that does not tell, or does not answer. What goes
 * by a PKCS#11 URI comes first: it would go with its library.
 */
async function providers({ client }: Context): Promise<ProviderDescription[]> {
  const loaded = await client.listProviders().catch(() => []);
  const byUri = ({ path }: ProviderDescription) => isPkcs11Uri(path);
  return [...loaded.filter(byUri), ...loaded.filter((provider) => !byUri(provider))];
}
