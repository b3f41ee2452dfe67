/** The way to the agent, and what to say when it refuses. */
import { AgentClient, AgentRefusal } from "../protocol/client.ts";
import { type Console, escapeControls } from "./console.ts";
import { exit } from "./exit.ts";
import { systemErrorText } from "./system-errors.ts";

/** Connects to the agent of the environment. @throws {Exit} with status 2 when there is none */
export async function connectToAgent(env: NodeJS.ProcessEnv): Promise<AgentClient> {
  const path = env.SSH_AUTH_SOCK;
  if (path === undefined || path === "") {
    throw exit("Could not open a connection to your authentication agent.", 2);
  }
  try {
    return await AgentClient.connect(path);
  } catch (error) {
    throw exit(`Error connecting to agent: ${systemErrorText(error)}`, 2);
  }
}

/** A failed request in OpenSSH's words. */
export function refusalText(error: unknown): string {
  return error instanceof AgentRefusal ? error.message : "communication with agent failed";
}

/**
 * After a refusal, adds the agent's reason and hint for it, if this agent tells them.
 * @returns whether it did
 */
export async function explainRefusal(
  client: AgentClient,
  console: Console,
  error: unknown,
): Promise<boolean> {
  if (!(error instanceof AgentRefusal)) return false;
  const reason = await client.failureReason().catch(() => undefined);
  if (reason === undefined || reason.request !== error.request) return false;
  explain(console, reason.sentence, reason.hint);
  return true;
}

/** Writes the two lines that follow a refusal. Either may be empty, and then is left out. */
export function explain(console: Console, reason: string, hint: string): void {
  if (reason !== "") console.note(`reason: ${escapeControls(reason)}`);
  if (hint !== "") console.note(`hint: ${escapeControls(hint)}`);
}
