/** Connecting to the agent, and explaining its refusals. */
import { realpathSync } from "node:fs";
import { exit } from "../openssh/exit.ts";
import { foreignAgent } from "../openssh/foreign-agents.ts";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import type { Certificate } from "../protocol/certificate.ts";
import { AgentClient, AgentRefusal } from "../protocol/client.ts";
import type { RenewalDescription } from "../protocol/extensions/list-renewals.ts";
import type { UpstreamDescription } from "../protocol/extensions/list-upstreams.ts";
import { blobAlgorithm, compositeAlgorithm } from "../protocol/public-key.ts";
import type { Identity } from "../protocol/replies.ts";
import { type Console, errorText } from "./console.ts";

/** The bytes of a path in a socket's address on Linux (unix(7)), without the final zero. */
const maxPathLength = 107;

/** Connects to the agent at SSH_AUTH_SOCK. @throws {Exit} with status 2 when that fails */
export async function connectToAgent(env: NodeJS.ProcessEnv): Promise<AgentClient> {
  const path = env.SSH_AUTH_SOCK;
  if (path === undefined || path === "") {
    throw exit("Could not open a connection to your authentication agent.", 2);
  }
  try {
    // OpenSSH cuts a longer path; Node.js 22 and newer refuse it.
    return await AgentClient.connect(Buffer.from(path).toString("utf8", 0, maxPathLength));
  } catch (error) {
    throw exit(`Error connecting to agent: ${errorText(error)}`, 2);
  }
}

/**
 * What is known about an agent of another project.
 * @param path of its socket; users often link a fixed path to the current agent
 */
export function knownAgent(path: string | undefined, processName = "") {
  if (path === undefined) return undefined;
  try {
    return foreignAgent(realpathSync(path), processName);
  } catch {
    return foreignAgent(path, processName);
  }
}

/** OpenSSH's message for a failed request. */
export function refusalText(error: unknown): string {
  return error instanceof AgentRefusal ? error.message : "communication with agent failed";
}

/**
 * Prints the reason and the hint for a refusal: those that the agent reports, or else what is known
 * about this agent.
 * @returns whether anything was printed
 */
export async function explainRefusal(
  client: AgentClient,
  console: Console,
  error: unknown,
): Promise<boolean> {
  if (!(error instanceof AgentRefusal)) return false;
  const reason = await client.failureReason().catch(() => undefined);
  if (reason?.request === error.request) {
    explain(console, reason.sentence, reason.hint);
    return true;
  }
  const known = knownAgent(client.path)?.refusals[error.request];
  if (known === undefined) return false;
  explain(console, known.reason, known.hint);
  return true;
}

/** The agent's identities; empty if it does not list them. */
export async function identitiesOrNone(client: AgentClient): Promise<readonly Identity[]> {
  return client.identities().catch(() => []);
}

/** The agents behind this one; empty if it does not list them. */
export async function upstreamsOrNone(
  client: AgentClient,
): Promise<readonly UpstreamDescription[]> {
  return client.listUpstreams().catch(() => []);
}

/** What the agent renews by itself; empty if it does not list that. */
export async function renewalsOrNone(client: AgentClient): Promise<readonly RenewalDescription[]> {
  return client.listRenewals().catch(() => []);
}

/**
 * Warns about identities that the agent still lists after it reported that it removed them or is
 * locked. Some agents do this, also behind another agent.
 * @param left the identities that should not be listed
 * @param why which explanation to use for a known agent
 */
export async function warnStillListed(
  client: AgentClient,
  console: Console,
  why: "notRemoved" | "notLocked",
  left: readonly Identity[],
): Promise<void> {
  if (left.length === 0) return;
  let rest = left;
  for (const { path, name, identities } of await upstreamsOrNone(client)) {
    const isTheirs = ({ keyBlob }: Identity) => identities.some((blob) => blob.equals(keyBlob));
    const theirs = rest.filter(isTheirs);
    if (theirs.length === 0) continue;
    rest = rest.filter((one) => !isTheirs(one));
    const known = knownAgent(path, name)?.[why];
    const sentence = `The agent at ${path} still lists ${count(theirs)}.`;
    explain(console, [sentence, known?.reason ?? []].flat().join(" "), known?.hint ?? "");
  }
  if (rest.length === 0) return;
  const known = knownAgent(client.path)?.[why];
  explain(console, known?.reason ?? `The agent still lists ${count(rest)}.`, known?.hint ?? "");
}

function count({ length }: readonly Identity[]): string {
  return length === 1 ? "an identity" : `${length} identities`;
}

/** Prints the two lines that follow a refusal; an empty one is left out. */
export function explain(console: Console, reason: string, hint: string): void {
  if (reason !== "") console.note(`reason: ${sanitizeForDisplay(reason)}`);
  if (hint !== "") console.note(`hint: ${sanitizeForDisplay(hint)}`);
}

/**
 * Tells of an added certificate for which older programs of OpenSSH fail on the agent's whole list. They
 * skip one of a post-quantum key.
 */
export function explainOldClients(console: Console, { key, caKey }: Certificate): void {
  if (key.type === "mldsa44-ed25519" || blobAlgorithm(caKey) !== compositeAlgorithm) return;
  const hint =
    "OpenSSH before 10.4 can use no key of the agent while it has this certificate: its CA's key is post-quantum.";
  explain(console, "", hint);
}
