/** Request 13: a signature (RFC 9987, section 3.6). */
import { Failure } from "../../protocol/failure.ts";
import { fingerprint } from "../../protocol/public-key.ts";
import type { Reply } from "../../protocol/replies.ts";
import type { Request } from "../../protocol/requests.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { type Agent, type ConnectionState, describeIdentity } from "../agent.ts";
import type { KeyringIdentity } from "../keyring.ts";
import { confirmQuestion, describeProcess } from "../policy/confirm.ts";
import { checkSignature } from "../policy/destinations.ts";

type SignRequest = Extract<Request, { type: "sign" }>;

/** Signs, after the checks that the identity's constraints ask for. */
export function sign(
  agent: Agent,
  connection: ConnectionState,
  request: SignRequest,
): Reply | Promise<Reply> {
  const identity = agent.keyring.find(request.keyBlob);
  if (identity === undefined) {
    throw new Failure("key-not-found", "The agent does not hold this key.");
  }
  const { destinations, confirm } = identity.limits;
  let destination: string | undefined;
  if (destinations.length > 0) {
    const { sessions } = connection.bindings;
    const { keyBlob, data } = request;
    const login = checkSignature(destinations, sessions, keyBlob, data, agent.wallClock);
    destination = `Login as user ${JSON.stringify(login.user)} at a listed host.`;
  }
  if (!confirm) return signWith(agent, identity, request);
  return confirmUse(agent, connection, identity, destination).then(() =>
    signWith(agent, identity, request),
  );
}

function signWith(
  agent: Agent,
  identity: KeyringIdentity,
  request: SignRequest,
): Reply | Promise<Reply> {
  const algorithm = signatureAlgorithm(identity.key, request.flags);
  agent.log(`sign with ${describeIdentity(identity)}, ${algorithm}`);
  const signature = identity.signer.sign(algorithm, request.data);
  if (Buffer.isBuffer(signature)) return { type: "signature", signature };
  return signature.then((bytes) => ({ type: "signature", signature: bytes }));
}

async function confirmUse(
  agent: Agent,
  connection: ConnectionState,
  identity: KeyringIdentity,
  destination: string | undefined,
): Promise<void> {
  const { peer } = connection;
  const requester = peer === undefined ? undefined : await describeProcess(peer.pid);
  const print = fingerprint(identity.keyBlob, agent.settings.fingerprintHash);
  const question = confirmQuestion(identity.comment, print, destination, requester);
  if (!(await agent.ask(question))) {
    throw new Failure("user-refused", "The use of this key was not confirmed.");
  }
  // Minutes may have passed: the agent may be locked, and the identity gone, by now.
  if (agent.lock.isLocked) throw new Failure("locked", "The agent was locked meanwhile.");
  if (agent.keyring.find(identity.blob) === undefined) {
    throw new Failure("key-not-found", "The key was removed meanwhile.");
  }
}
