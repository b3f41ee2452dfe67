/** `ssh-add -l` and `ssh-add -L`: what the agent holds, by fingerprint or as public keys. */
import type { Identity } from "../../protocol/replies.ts";
import { refusalText } from "../agent.ts";
import type { Context } from "../context.ts";
import { describe, summary } from "../identities.ts";

/** Lists the identities. Exit status 1 when there are none. */
export async function list(context: Context): Promise<number> {
  const { client, console, options } = context;
  let identities: readonly Identity[];
  try {
    identities = await client.identities();
  } catch (error) {
    console.note(`error fetching identities: ${refusalText(error)}`);
    return 1;
  }
  const status = identities.length === 0 ? 1 : 0;
  if (options.json) {
    const { identitiesAsJson } = await import("../json.ts");
    console.print(identitiesAsJson(identities, options.hash));
    return status;
  }
  if (identities.length === 0) console.print("The agent has no identities.");
  for (const { keyBlob, comment } of identities) {
    const described = describe(keyBlob);
    if (described === undefined) continue;
    const line =
      options.action === "list"
        ? summary(described, comment, options.hash)
        : `${described.algorithm} ${keyBlob.toString("base64")} ${comment}`;
    console.print(line);
  }
  return status;
}
