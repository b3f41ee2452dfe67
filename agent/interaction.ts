/** Interaction with the user for one signature: confirmation, PIN prompts and notices. */
import { sanitizeName } from "../openssh/text-for-display.ts";
import { Failure } from "../protocol/failure.ts";
import { fingerprint } from "../protocol/fingerprint.ts";
import type { Agent, ConnectionState } from "./agent.ts";
import type { KeyringIdentity } from "./identity.ts";
import type { PinPromptBackoff } from "./pkcs11/pin-prompt.ts";
import { confirmQuestion, describeProcess } from "./policy/prompter.ts";
import type { PromptOptions } from "./policy/prompts.ts";
import type { UserInteraction } from "./signer.ts";
import type { ClientUpstreams } from "./upstream/upstreams.ts";

/** The interaction for a signature with an identity. One is made for each signature, so it is lazy. */
export class SignInteraction implements UserInteraction {
  readonly #agent: Agent;
  readonly #connection: ConnectionState;
  readonly #identity: KeyringIdentity;
  readonly purpose: string | undefined;

  /** @param purpose what the signature is for, as a line for the user */
  constructor(
    agent: Agent,
    connection: ConnectionState,
    identity: KeyringIdentity,
    purpose: string | undefined,
  ) {
    this.#agent = agent;
    this.#connection = connection;
    this.#identity = identity;
    this.purpose = purpose;
  }

  get gone(): AbortSignal {
    return this.#connection.gone;
  }

  get keyName(): string {
    return `${sanitizeName(this.#identity.comment)} (${printOf(this.#agent, this.#identity)})`;
  }

  get upstreams(): ClientUpstreams {
    return this.#connection.upstreams;
  }

  get pinBackoff(): PinPromptBackoff {
    return this.#connection.pinBackoff;
  }

  readonly askPin = async (question: string, signal: AbortSignal): Promise<Buffer | undefined> => {
    const { prompts, prompter } = this.#agent;
    const prompt = promptFor(this.#agent, this.#identity, signal);
    const pin = await prompts.ask(prompt, (cancel) => prompter.askPin(question, cancel));
    try {
      throwIfRemoved(this.#agent, this.#identity);
    } catch (error) {
      pin?.fill(0);
      throw error;
    }
    return pin;
  };

  readonly notify = (text: string): (() => void) => {
    const { prompts, prompter } = this.#agent;
    const prompt = promptFor(this.#agent, this.#identity, this.gone);
    return prompts.notify(prompt, (cancel) => prompter.notify(text, cancel));
  };
}

/** The name of an identity in a prompt. */
type Named = Pick<KeyringIdentity, "keyBlob" | "comment">;

/**
 * Asks the user to confirm the use of an identity.
 * @param purpose what the signature is for, as a line for the user
 * @param check throws if it has become impossible meanwhile
 * @throws {Failure} user-refused; those of `check`
 */
export async function confirmUse(
  agent: Agent,
  { peer, gone }: ConnectionState,
  identity: Named,
  purpose: string | undefined,
  check: () => void,
): Promise<void> {
  // Started now, because the process may have exited when the prompt is shown.
  const requester = peer && describeProcess(peer.pid);
  const [name, print] = [sanitizeName(identity.comment), printOf(agent, identity)];
  const isConfirmed = await agent.prompts.ask({ signal: gone, check }, async (cancel) =>
    agent.prompter.confirm(confirmQuestion(name, print, purpose, await requester), cancel),
  );
  if (!isConfirmed) {
    throw new Failure("user-refused", "The user did not confirm the use of this key.");
  }
  check();
}

/**
 * Checks, after waiting for the user, that the agent still holds the identity and is not locked.
 * @throws {Failure} locked, key-not-found
 */
export function throwIfRemoved(agent: Agent, identity: KeyringIdentity): void {
  agent.lock.throwIfLocked();
  if (agent.keyring.find(identity.blob) === undefined) {
    throw new Failure("key-not-found", "The key was removed meanwhile.");
  }
}

/** The options of a prompt for the use of an identity. @param signal cancels it */
function promptFor(agent: Agent, identity: KeyringIdentity, signal: AbortSignal): PromptOptions {
  return { signal, check: () => throwIfRemoved(agent, identity) };
}

function printOf({ settings }: Agent, { keyBlob }: Named): string {
  return fingerprint(keyBlob, settings.fingerprintHash);
}
