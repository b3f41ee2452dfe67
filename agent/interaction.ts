/** The user of a client, for one signature: confirmation, PINs and notices, each in its turn. */
import { sanitizeName } from "../openssh/text-for-display.ts";
import { Failure } from "../protocol/failure.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import type { Agent, ConnectionState } from "./agent.ts";
import type { KeyringIdentity } from "./identity.ts";
import { confirmQuestion, describeProcess } from "./policy/confirm.ts";
import type { Purpose } from "./policy/prompts.ts";
import type { UserInteraction } from "./signer.ts";

/**
 * What a signer may ask and tell for a signature with an identity.
 * @param purpose what the signature is for, as a line for the user
 */
export function interactionFor(
  agent: Agent,
  connection: ConnectionState,
  identity: KeyringIdentity,
  purpose: string | undefined,
): UserInteraction {
  return {
    get gone() {
      return connection.gone;
    },
    get keyName() {
      return `${sanitizeName(identity.comment)} (${printOf(agent, identity)})`;
    },
    purpose,
    pinBackoff: connection.pinBackoff,
    async askPin(question, unwanted) {
      const prompt = promptFor(agent, identity, unwanted);
      const pin = await agent.prompts.ask(prompt, (taken) => agent.person.askPin(question, taken));
      try {
        throwIfRemoved(agent, identity);
      } catch (error) {
        pin?.fill(0);
        throw error;
      }
      return pin;
    },
    notify(text) {
      const prompt = promptFor(agent, identity, connection.gone);
      return agent.prompts.notify(prompt, (taken) => agent.person.notify(text, taken));
    },
  };
}

/**
 * Has the user confirm the use of an identity.
 * @param purpose what the signature is for, as a line for the user
 * @throws {Failure} user-refused; locked or key-not-found, when that came meanwhile
 */
export async function confirmUse(
  agent: Agent,
  { peer, gone }: ConnectionState,
  identity: KeyringIdentity,
  purpose: string | undefined,
): Promise<void> {
  // Described as it is now, and not when its turn comes.
  const requester = peer && describeProcess(peer.pid);
  const [name, print] = [sanitizeName(identity.comment), printOf(agent, identity)];
  const isConfirmed = await agent.prompts.ask(promptFor(agent, identity, gone), async (taken) =>
    agent.ask(confirmQuestion(name, print, purpose, await requester), taken),
  );
  if (!isConfirmed) {
    throw new Failure("user-refused", "The use of this key was not confirmed.");
  }
  throwIfRemoved(agent, identity);
}

/**
 * Refuses what somebody was waited for, when the agent is locked or the identity gone by now.
 * @throws {Failure} locked, key-not-found
 */
export function throwIfRemoved(agent: Agent, identity: KeyringIdentity): void {
  agent.lock.throwIfLocked();
  if (agent.keyring.find(identity.blob) === undefined) {
    throw new Failure("key-not-found", "The key was removed meanwhile.");
  }
}

/** Prompts for a use of an identity. @param unwanted aborted when nobody waits for it any more */
function promptFor(agent: Agent, identity: KeyringIdentity, unwanted: AbortSignal): Purpose {
  return { unwanted, check: () => throwIfRemoved(agent, identity) };
}

function printOf({ settings }: Agent, { keyBlob }: KeyringIdentity): string {
  return fingerprint(keyBlob, settings.fingerprintHash);
}
