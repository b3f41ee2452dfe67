/** `ssh-add -e LIB`: removes a PKCS#11 provider and its keys. */
import { explainRefusal, refusalText } from "../agent.ts";
import type { Context } from "../context.ts";
import { providerPath } from "../provider-path.ts";

/** Removes the provider. */
export async function removeCard({ client, console, options }: Context): Promise<number> {
  const { provider, quiet } = options;
  try {
    await client.removeSmartcardKey(providerPath(provider));
    if (!quiet) console.note(`Card removed: ${provider}`);
    return 0;
  } catch (error) {
    console.note(`Could not remove card "${provider}": ${refusalText(error)}`);
    await explainRefusal(client, console, error);
    return 1;
  }
}
