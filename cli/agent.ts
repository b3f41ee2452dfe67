/** Connecting to the agent, and explaining its refusals. */
import { exit } from "../openssh/exit.ts";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import { AgentClient, AgentRefusal } from "../protocol/client.ts";
import type { Identity } from "../protocol/replies.ts";
import { type Console, errorText } from "./console.ts";
import { foreignAgent } from "./foreign-agents.ts";

/** Connects to the agent at SSH_AUTH_SOCK. @throws {Exit} with status 2 when that fails */
export async function connectToAgent(env: NodeJS.ProcessEnv): Promise<AgentClient> {
  const path = env.SSH_AUTH_SOCK;
  if (path === undefined || path === "") {
    throw exit("Could not open a connection to your authentication agent.", 2);
  }
  try {
    return await AgentClient.connect(path);
  } catch (error) {
    throw exit(`Error connecting to agent: ${errorText(error)}`, 2);
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
  const known = foreignAgent(client.path)?.refusals[error.request];
  if (known === undefined) return false;
  explain(console, known.reason, known.hint);
  return true;
}

/** The agent's identities; empty if it does not list them. */
export async function identitiesOrNone(client: AgentClient): Promise<readonly Identity[]> {
  return client.identities().catch(() => []);
}

/**
 * Warns about identities that the agent still lists after it reported that it removed them or is
 * locked. Some agents do this.
 * @param left the identities that should not be listed
 * @param why which explanation to use for a known agent
 */
export function warnStillListed(
  client: AgentClient,
  console: Console,
  why: "notRemoved" | "notLocked",
  left: readonly Identity[],
): void {
  if (left.length === 0) return;
  const known = foreignAgent(client.path)?.[why];
  const listed = left.length === 1 ? "an identity" : `${left.length} identities`;
  explain(console, known?.reason ?? `The agent still lists ${listed}.`, known?.hint ?? "");
}

/** Prints the two lines that follow a refusal; an empty one is left out. */
export function explain(console: Console, reason: string, hint: string): void {
  if (reason !== "") console.note(`reason: ${sanitizeForDisplay(reason)}`);
  if (hint !== "") console.note(`hint: ${sanitizeForDisplay(hint)}`);
}
