/** `ssh-add -l` and `ssh-add -L`: lists identities by fingerprint or as public keys. */
import type { Identity } from "../../protocol/replies.ts";
import { refusalText } from "../agent.ts";
import type { Context } from "../context.ts";
import { type Description, describe, summary } from "../identities.ts";
import type { Options } from "../options.ts";

/** Lists the identities. Exit status 1 if there are none. */
export async function list(context: Context): Promise<number> {
  const { client, console, options } = context;
  let identities: readonly Identity[];
  let format: Format;
  try {
    [identities, format] = await Promise.all([client.identities(), loadFormat(options)]);
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
  for (const identity of identities) {
    const described = describe(identity.keyBlob);
    if (described !== undefined) console.print(format(described, identity));
  }
  return status;
}

/** The line for an identity. */
type Format = (described: Description, identity: Identity) => string;

/** Loads the code for fingerprints only for -l, and while the agent answers. */
async function loadFormat({ action, hash }: Options): Promise<Format> {
  if (action !== "list") {
    return ({ algorithm }, { keyBlob, comment }) =>
      `${algorithm} ${keyBlob.toString("base64")} ${comment}`;
  }
  const { fingerprint } = await import("../../protocol/fingerprint.ts");
  return (described, { comment }) =>
    summary(described, fingerprint(described.keyBlob, hash), comment);
}
