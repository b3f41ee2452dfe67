/** `ssh-add -e LIB` or `-e URI`: removes a PKCS#11 provider and its keys, or some of them. */

import { isPkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import { AgentRefusal } from "../../protocol/client.ts";
import { explain, explainRefusal, refusalText } from "../agent.ts";
import type { Context } from "../context.ts";
import { providerPath, uriHint } from "../provider-path.ts";

/** Removes the provider. */
export async function removeCard({ client, console, options }: Context): Promise<number> {
  const { provider, quiet } = options;
  try {
    await client.removeSmartcardKey(providerPath(provider));
    if (!quiet) console.note(`Card removed: ${provider}`);
    return 0;
  } catch (error) {
    console.note(`Could not remove card "${provider}": ${refusalText(error)}`);
    const isExplained = await explainRefusal(client, console, error);
    if (!isExplained && error instanceof AgentRefusal && isPkcs11Uri(provider)) {
      explain(console, "", uriHint);
    }
    return 1;
  }
}
