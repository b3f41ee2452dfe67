/** `ssh-add -x` and `ssh-add -X`: locks and unlocks the agent with a passphrase. */
import { explainRefusal, identitiesOrNone, refusalText, warnStillListed } from "../agent.ts";
import type { Context } from "../context.ts";

/** Asks twice for a passphrase and locks the agent with it. */
export async function lock(context: Context): Promise<number> {
  const { client, console, prompter } = context;
  const passphrase = await prompter.ask("Enter lock password: ");
  const again = await prompter.ask("Again: ");
  try {
    if (!passphrase.equals(again)) {
      console.note("Passwords do not match.");
      return 1;
    }
    await client.lock(passphrase);
    console.note("Agent locked.");
    await warnStillListed(client, console, "notLocked", await identitiesOrNone(client));
    return 0;
  } catch (error) {
    console.note(`Failed to lock agent: ${refusalText(error)}`);
    await explainRefusal(client, console, error);
    return 1;
  } finally {
    passphrase.fill(0);
    again.fill(0);
  }
}

/** Asks for the passphrase and unlocks the agent. */
export async function unlock({ client, console, prompter }: Context): Promise<number> {
  const passphrase = await prompter.ask("Enter lock password: ");
  try {
    await client.unlock(passphrase);
    console.note("Agent unlocked.");
    return 0;
  } catch (error) {
    console.note(`Failed to unlock agent: ${refusalText(error)}`);
    await explainRefusal(client, console, error);
    return 1;
  } finally {
    passphrase.fill(0);
  }
}
