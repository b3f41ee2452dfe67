/**
 * Decodes a request, calls its handler, and returns the reply. Every refusal becomes a reply here, and
 * nowhere else.
 */
import { asFailure, Failure } from "../protocol/failure.ts";
import { requestNumbers } from "../protocol/numbers.ts";
import type { Reply } from "../protocol/replies.ts";
import { decodeRequest, type Request, type RequestOf } from "../protocol/requests.ts";
import type { Agent, ConnectionState } from "./agent.ts";
import { extensionHandlers, extensionsWhileLocked } from "./extensions/table.ts";
import { addIdentity } from "./requests/add-identity.ts";
import { requestIdentities } from "./requests/identities.ts";
import { lock, unlock } from "./requests/lock.ts";
import { removeAllIdentities, removeIdentity } from "./requests/remove.ts";
import { sign } from "./requests/sign.ts";
import { addSmartcardKey, removeSmartcardKey } from "./requests/smartcard.ts";

/** Answers a request, at once or later, or throws a `Failure`. */
type Handler<Handled> = (
  agent: Agent,
  connection: ConnectionState,
  request: Handled,
) => Reply | Promise<Reply>;

type HandlerTable = {
  readonly [Type in Request["type"]]: Handler<RequestOf<Type>>;
};

const handlers: HandlerTable = {
  "request-identities": requestIdentities,
  sign,
  "add-identity": addIdentity,
  "remove-identity": removeIdentity,
  "remove-all-identities": removeAllIdentities,
  "add-smartcard-key": addSmartcardKey,
  "remove-smartcard-key": removeSmartcardKey,
  lock,
  unlock,
  extension: handleExtension,
  "request-rsa-identities": () => ({ type: "rsa-identities" }),
  "remove-all-rsa-identities": () => ({ type: "success" }),
};

/**
 * Answers one request. Every error becomes a failure reply; its reason is kept in
 * `connection.lastFailure`.
 * @param message a frame without its length; not referenced once the reply is there
 */
export function dispatch(
  agent: Agent,
  connection: ConnectionState,
  message: Buffer,
): Reply | Promise<Reply> {
  let request: Request | undefined;
  const refused = (error: unknown) => refuse(agent, connection, message[0] ?? 0, request, error);
  try {
    request = decodeRequest(message);
    if (hasSecret(request)) agent.softwareKeys.freedMemory.clearReadBuffer();
    const reply =
      agent.lock.isLocked && !isAnsweredWhileLocked(request)
        ? lockedReply(request)
        : handle(agent, connection, request);
    return reply instanceof Promise ? replyLater(agent, request, reply).catch(refused) : reply;
  } catch (error) {
    return refused(error);
  }
}

/** Whether a request holds a private key, a PIN or a passphrase. */
function hasSecret({ type }: Request): boolean {
  switch (type) {
    case "add-identity":
    case "add-smartcard-key":
    case "remove-smartcard-key":
    case "lock":
    case "unlock":
      return true;
    case "request-identities":
    case "sign":
    case "remove-identity":
    case "remove-all-identities":
    case "extension":
    case "request-rsa-identities":
    case "remove-all-rsa-identities":
      return false;
  }
}

function handle<Type extends Request["type"]>(
  agent: Agent,
  connection: ConnectionState,
  request: RequestOf<Type>,
): Reply | Promise<Reply> {
  const handler: Handler<RequestOf<Type>> = handlers[request.type as Type];
  return handler(agent, connection, request);
}

/**
 * Waits for a reply. If the agent was locked meanwhile, it is that of a locked agent, as in OpenSSH's
 * agent, which answers all requests in order. What has already been done is still reported as done.
 */
async function replyLater(
  { lock }: Agent,
  request: Request,
  handled: Promise<Reply>,
): Promise<Reply> {
  const isHidden = () => lock.isLocked && !isAnsweredWhileLocked(request);
  try {
    const reply = await handled;
    return reply.type !== "success" && isHidden() ? lockedReply(request) : reply;
  } catch (error) {
    if (isHidden()) return lockedReply(request);
    throw error;
  }
}

/** Whether a locked agent answers a request as an unlocked one does. */
function isAnsweredWhileLocked(request: Request): boolean {
  switch (request.type) {
    case "unlock":
    case "request-rsa-identities":
      return true;
    case "extension":
      return extensionsWhileLocked.has(request.name);
    default:
      return false;
  }
}

/** A locked agent lists no identities. @throws {Failure} locked, for any other request */
function lockedReply({ type }: Request): Reply {
  if (type === "request-identities") return { type: "identities", identities: [] };
  throw new Failure("locked", "The agent is locked.");
}

function handleExtension(
  agent: Agent,
  connection: ConnectionState,
  request: RequestOf<"extension">,
): Reply | Promise<Reply> {
  const handler = extensionHandlers.get(request.name);
  if (handler === undefined) {
    throw new Failure("unsupported", `The extension "${request.name}" is not supported.`);
  }
  return handler(agent, connection, request.body);
}

/** The failure reply: SSH_AGENT_EXTENSION_FAILURE (28) for a known extension, else SSH_AGENT_FAILURE (5). */
function refuse(
  agent: Agent,
  connection: ConnectionState,
  number: number,
  request: Request | undefined,
  error: unknown,
): Reply {
  const { code, message, hint } = asFailure(error);
  connection.lastFailure = { request: number, code, sentence: message, hint };
  agent.log(`refused request ${number}: ${code}: ${message}`);
  if (code === "internal" && error instanceof Error) agent.log(`${error.name}: ${error.message}`);
  const isKnownExtension =
    number === requestNumbers.extension &&
    request?.type === "extension" &&
    extensionHandlers.has(request.name);
  return { type: isKnownExtension ? "extension-failure" : "failure" };
}
