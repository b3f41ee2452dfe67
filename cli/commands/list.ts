/** `ssh-add -l` and `ssh-add -L`: lists identities by fingerprint or as public keys. */
import type { Identity } from "../../protocol/replies.ts";
import { refusalText, renewalsOrNone, upstreamsOrNone } from "../agent.ts";
import type { Context } from "../context.ts";
import {
  type Description,
  describe,
  noIdentities,
  publicKeyLine,
  renewalOf,
  summary,
} from "../identities.ts";
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
    console.print(identitiesAsJson(identities, options.hash, await renewalsOrNone(client)));
    return status;
  }
  const details = options.action === "list" && options.verbosity > 0;
  const detail = details ? await loadDetails(context, identities) : () => [];
  if (identities.length === 0) console.print(noIdentities);
  for (const identity of identities) {
    const described = describe(identity.keyBlob);
    if (described === undefined) continue;
    console.print(format(described, identity));
    for (const line of detail(described, identity)) console.paint(line);
  }
  return status;
}

/** The lines below that for an identity, with -v. */
type Details = (described: Description, identity: Identity) => readonly string[];

/** Asks what the agent renews, and names its upstream agents whose keys are missing in the list. */
async function loadDetails(
  { client, console, options, env, now, debug }: Context,
  identities: readonly Identity[],
): Promise<Details> {
  const [renewals, upstreams, { detailLines }] = await Promise.all([
    renewalsOrNone(client),
    upstreamsOrNone(client),
    import("../certificate-details.ts"),
  ]);
  for (const { path, state } of upstreams) {
    if (state !== "ready") debug(1, `upstream agent ${path}: ${state}`);
  }
  const isPlain = !console.outputIsTerminal || Boolean(env.NO_COLOR);
  const view = { hash: options.hash, now: now(), isPlain };
  return (described, { keyBlob }) =>
    detailLines(described, renewalOf(keyBlob, renewals, identities), view);
}

/** The line for an identity. */
type Format = (described: Description, identity: Identity) => string;

/** Loads the code for fingerprints only for -l, and while the agent answers. */
async function loadFormat({ action, hash }: Options): Promise<Format> {
  if (action !== "list") return publicKeyLine;
  const { fingerprint } = await import("../../protocol/fingerprint.ts");
  return (described, { comment }) =>
    summary(described, fingerprint(described.keyBlob, hash), comment);
}
