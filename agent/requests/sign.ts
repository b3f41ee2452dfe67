/** Request 13: a signature (RFC 9987, section 3.6). */
import { sanitizeName } from "../../openssh/text-for-display.ts";

import type { TokenDescription } from "../../protocol/extensions/list-providers.ts";
import { Failure } from "../../protocol/failure.ts";
import { fingerprint } from "../../protocol/fingerprint.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Request } from "../../protocol/requests.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import { type Agent, type ConnectionState, describeIdentity } from "../agent.ts";
import { Authenticator } from "../fido/authenticator.ts";
import type { KeyringIdentity } from "../keyring.ts";
import { CardSigner } from "../pkcs11/card-signer.ts";
import { isPinRefused } from "../pkcs11/pin-failures.ts";
import type { UserInteraction } from "../pkcs11/provider.ts";
import { confirmQuestion, describeProcess } from "../policy/confirm.ts";
import { checkSignature } from "../policy/destinations.ts";
import type { Purpose } from "../policy/prompts.ts";
import { certificateEnded } from "../policy/validity.ts";
import { checkWebsafe } from "../policy/websafe.ts";

type SignRequest = Extract<Request, { type: "sign" }>;

/** Signs, after the checks that the identity's constraints ask for. */
export function sign(
  agent: Agent,
  connection: ConnectionState,
  request: SignRequest,
): Reply | Promise<Reply> {
  const identity = findSigner(agent, request.keyBlob);
  const { destinations, confirm } = identity.limits;
  let destination: string | undefined;
  if (destinations.length > 0) {
    const { keyBlob, data } = request;
    const { bindings } = connection;
    const login = checkSignature(destinations, bindings, keyBlob, data, agent.wallClock);
    const user = sanitizeName(JSON.stringify(login.user));
    destination = `Login as user ${user} at a listed host.`;
  }
  if (!confirm) return signWith(agent, connection, identity, request, destination);
  return confirmUse(agent, connection, identity, destination).then(() =>
    signWith(agent, connection, identity, request, destination),
  );
}

/**
 * The identity that signs for a blob. For a certificate that the agent does not hold it is the key by
 * itself, within the same limits. Clients ask this way when the certificate in a file has expired,
 * since ssh-add then adds the key alone.
 * @throws {Failure} key-not-found; certificate-expired; malformed or unsupported, for no key blob
 */
function findSigner({ keyring, wallClock }: Agent, blob: Buffer): KeyringIdentity {
  const known = keyring.find(blob);
  if (known !== undefined) return known;
  const { certificate, keyBlob } = verifyKeyOrCertificate(blob);
  const key = certificate && keyring.find(keyBlob);
  if (key !== undefined) return key;
  if (certificate && certificate.validBefore <= wallClock()) throw certificateEnded(certificate);
  throw new Failure("key-not-found", "The agent does not hold this key.");
}

function signWith(
  agent: Agent,
  connection: ConnectionState,
  identity: KeyringIdentity,
  request: SignRequest,
  destination: string | undefined,
): Reply | Promise<Reply> {
  const { signer } = identity;
  if (signer instanceof Authenticator) {
    return touchAndSign(agent, connection, identity, signer, request, destination);
  }
  const algorithm = signatureAlgorithm(identity.key, request.flags);
  agent.log(`sign with ${describeIdentity(identity)}, ${algorithm}`);
  const signature =
    signer instanceof CardSigner
      ? signByCard(agent, connection, identity, (holder) =>
          signer.sign(algorithm, request.data, holder),
        )
      : signer.sign(algorithm, request.data);
  if (Buffer.isBuffer(signature)) return { type: "signature", signature };
  return signature.then(
    (bytes) => {
      checkStillThere(agent, identity);
      return { type: "signature", signature: bytes };
    },
    (error) => {
      agent.lock.throwIfLocked(); // whatever else has come of it
      throw error;
    },
  );
}

/** Signs with a card before which somebody sits, who is not asked for ever. */
async function signByCard(
  agent: Agent,
  { pinPromptBackoff, gone }: ConnectionState,
  identity: KeyringIdentity,
  signBy: (holder: UserInteraction) => Promise<Buffer>,
): Promise<Buffer> {
  let asked: TokenDescription | undefined;
  const holder: UserInteraction = {
    gone,
    async askPin(card, isLastTry, unwanted) {
      if (!pinPromptBackoff.mayAsk(card, agent.clock.now())) return undefined;
      asked = card;
      const pin = await askPin(agent, identity, card, isLastTry, unwanted);
      if (pin === undefined) pinPromptBackoff.noteInVain(card, agent.clock.now());
      return pin;
    },
    notify: (card) => {
      const [name, key] = [nameCard(card), nameKey(agent, identity)];
      const text = `Card ${name} is to sign with ${key}; touch it if it blinks.`;
      return notify(agent, purposeOf(agent, identity, gone), text);
    },
  };
  try {
    return await signBy(holder);
  } catch (error) {
    if (asked !== undefined && isPinRefused(error)) {
      pinPromptBackoff.noteInVain(asked, agent.clock.now());
    }
    throw error;
  }
}

/** Asks for the PIN of the card of an identity, which is to be there before and afterwards. */
async function askPin(
  agent: Agent,
  identity: KeyringIdentity,
  card: TokenDescription,
  isLastTry: boolean,
  unwanted: AbortSignal,
): Promise<Buffer | undefined> {
  const warning = isLastTry ? "One try is left before the card locks itself.\n" : "";
  const key = nameKey(agent, identity);
  const question = `${warning}Enter PIN for card ${nameCard(card)} to use ${key}: `;
  const purpose = purposeOf(agent, identity, unwanted);
  const pin = await agent.prompts.ask(purpose, (taken) => agent.person.askPin(question, taken));
  try {
    checkStillThere(agent, identity);
  } catch (error) {
    pin?.fill(0);
    throw error;
  }
  return pin;
}

/** A comment may be any client's, and a question is not to say what it likes. */
function nameKey({ settings }: Agent, { comment, keyBlob }: KeyringIdentity): string {
  const name = sanitizeName(comment);
  return `key ${name} (${fingerprint(keyBlob, settings.fingerprintHash)})`;
}

function nameCard({ label, serial }: TokenDescription): string {
  return sanitizeName(label || serial);
}

async function touchAndSign(
  agent: Agent,
  { gone }: ConnectionState,
  identity: KeyringIdentity,
  authenticator: Authenticator,
  { keyBlob, data }: SignRequest,
  destination: string | undefined,
): Promise<Reply> {
  checkWebsafe(agent.settings.websafeAllow, authenticator.application, data, keyBlob);
  agent.log(`sign with ${describeIdentity(identity)}, on an authenticator`);
  const purpose = purposeOf(agent, identity, gone);
  const signature = await authenticator.sign(data, destination, {
    gone,
    askPin: (question) => {
      agent.log("a signature waits for the PIN of an authenticator");
      return agent.prompts.ask(purpose, (taken) => agent.person.askPin(question, taken));
    },
    notify: (text) => notify(agent, purpose, text),
  });
  checkStillThere(agent, identity);
  return { type: "signature", signature };
}

async function confirmUse(
  agent: Agent,
  connection: ConnectionState,
  identity: KeyringIdentity,
  destination: string | undefined,
): Promise<void> {
  const { peer, gone } = connection;
  // Described as it is now, and not when its turn comes.
  const requester = peer && describeProcess(peer.pid);
  const print = fingerprint(identity.keyBlob, agent.settings.fingerprintHash);
  const name = sanitizeName(identity.comment);
  const isConfirmed = await agent.prompts.ask(
    purposeOf(agent, identity, gone),
    async (taken) =>
      await agent.ask(confirmQuestion(name, print, destination, await requester), taken),
  );
  if (!isConfirmed) {
    throw new Failure("user-refused", "The use of this key was not confirmed.");
  }
  checkStillThere(agent, identity);
}

/** Prompts for a use of an identity. @param unwanted aborted when nobody waits for it any more */
function purposeOf(agent: Agent, identity: KeyringIdentity, unwanted: AbortSignal): Purpose {
  return { unwanted, check: () => checkStillThere(agent, identity) };
}

/** Shows a notice in its turn; the function that it returns takes it away. */
function notify(agent: Agent, purpose: Purpose, text: string): () => void {
  return agent.prompts.notify(purpose, (taken) => agent.person.notify(text, taken));
}

/** A person was waited for: the agent may be locked, and the identity gone, by now. */
function checkStillThere(agent: Agent, identity: KeyringIdentity): void {
  agent.lock.throwIfLocked();
  if (agent.keyring.find(identity.blob) === undefined) {
    throw new Failure("key-not-found", "The key was removed meanwhile.");
  }
}
