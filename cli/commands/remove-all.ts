/** `ssh-add -D`: unloads every PKCS#11 provider, then removes all identities. */

import { isPkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import type { ProviderDescription } from "../../protocol/extensions/list-providers.ts";
import { explainRefusal, identitiesOrNone, refusalText, warnStillListed } from "../agent.ts";
import type { Context } from "../context.ts";

/** Removes everything. Continues after a refusal, and then returns exit status 1. */
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
  // Old agents keep the keys of SSH protocol 1 separately; others refuse this.
  await client.removeAllRsaIdentities().catch(() => undefined);
  if (refusal === undefined) {
    await warnStillListed(client, console, "notRemoved", await identitiesOrNone(client));
  }
  return unloaded && refusal === undefined ? 0 : 1;
}

/** @returns whether the agent unloaded all of them */
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
 * The loaded providers, as far as the agent lists them. PKCS#11 URIs come first: unloading a library
 * also unloads its URIs.
 */
async function providers({ client }: Context): Promise<ProviderDescription[]> {
  const loaded = await client.listProviders().catch(() => []);
  const byUri = ({ path }: ProviderDescription) => isPkcs11Uri(path);
  return [...loaded.filter(byUri), ...loaded.filter((provider) => !byUri(provider))];
}
