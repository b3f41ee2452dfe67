/** Loading a card with certificates, also where the agent may be too old to take them. */
import { type AgentClient, AgentRefusal } from "../protocol/client.ts";
import type { Constraint } from "../protocol/constraints.ts";

/** What is to be loaded. */
export interface CardToLoad {
  readonly provider: string;
  readonly pin: Buffer;
  readonly constraints: readonly Constraint[];
}

/**
 * Loads a card with certificates.
 *
 * An agent that answers `query` is new enough to take them. One that does not may be OpenSSH before
 * 9.6, which refuses; and since it does not say why, the same refusal may be for a wrong PIN. So
 * that no PIN is ever tried twice, the card is then loaded without certificates first. Only once its
 * PIN has proved right is it loaded again with them, and if that is refused, without.
 *
 * @param associated the constraint that holds the certificates
 * @returns whether the agent took them
 * @throws what `addSmartcardKey` does, when the card itself could not be loaded
 */
export async function loadWithCertificates(
  client: AgentClient,
  card: CardToLoad,
  associated: Constraint,
): Promise<boolean> {
  const { provider, pin, constraints } = card;
  const withCertificates = [...constraints, associated];
  if (await answersQuery(client)) {
    await client.addSmartcardKey(provider, pin, withCertificates);
    return true;
  }
  await client.addSmartcardKey(provider, pin, constraints);
  await client.removeSmartcardKey(provider);
  try {
    await client.addSmartcardKey(provider, pin, withCertificates);
    return true;
  } catch (error) {
    if (!(error instanceof AgentRefusal)) throw error;
    await client.addSmartcardKey(provider, pin, constraints);
    return false;
  }
}

async function answersQuery(client: AgentClient): Promise<boolean> {
  try {
    await client.query();
    return true;
  } catch (error) {
    if (error instanceof AgentRefusal) return false;
    throw error;
  }
}
