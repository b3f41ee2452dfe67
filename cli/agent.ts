/** The way to the agent, and what to say when it refuses. */
import { exit } from "../openssh/exit.ts";
import { sanitizeForDisplay } from "../openssh/text-for-display.ts";
import { AgentClient, AgentRefusal } from "../protocol/client.ts";
import type { Identity } from "../protocol/replies.ts";
import { type Console, errorText } from "./console.ts";
import { foreignAgent } from "./foreign-agents.ts";

/** Connects to the agent of the environment. @throws {Exit} with status 2 when there is none */
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

/** A failed request in OpenSSH's words. */
export function refusalText(error: unknown): string {
  return error instanceof AgentRefusal ? error.message : "communication with agent failed";
}

/**
 * After a refusal, adds the agent's reason and hint for it, if this agent tells them, or else what
 * is known of it.
 * @returns whether there was something to say
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

/** What an agent lists once it has done what it was asked for; nothing where it does not list. */
export async function listAfterwards(client: AgentClient): Promise<readonly Identity[]> {
  return client.identities().catch(() => []);
}

/**
 * After an agent said that it has removed identities, or is locked: tells if it lists them all the
 * same, as some do.
 * @param left what it lists and should not
 * @param why what to say of an agent that is known to do so
 */
export function tellStillListed(
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

/** Writes the two lines that follow a refusal. Either may be empty, and then is left out. */
export function explain(console: Console, reason: string, hint: string): void {
  if (reason !== "") console.note(`reason: ${sanitizeForDisplay(reason)}`);
  if (hint !== "") console.note(`hint: ${sanitizeForDisplay(hint)}`);
}
