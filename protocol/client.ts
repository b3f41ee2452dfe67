/** A client of the agent protocol. */
import { connect, type Socket } from "node:net";
import type { Constraint } from "./constraints.ts";
import { type AddCertificate, encodeAddCertificate } from "./extensions/add-certificate.ts";
import { decodeFailureReason, type FailureReason } from "./extensions/failure-reason.ts";
import { decodeListProvidersReply, type ProviderDescription } from "./extensions/list-providers.ts";
import { extensionNames } from "./extensions/names.ts";
import { decodeQueryReply } from "./extensions/query.ts";
import { encodeSessionBind, type SessionBind } from "./extensions/session-bind.ts";
import { Failure, malformed } from "./failure.ts";
import { FrameReader, frame } from "./framing.ts";
import { maxFrameLength } from "./numbers.ts";
import type { PrivateKey } from "./private-key.ts";
import { decodeReply, type Identity, type Reply } from "./replies.ts";
import { encodeRequest, type Request, requestNumber } from "./requests.ts";
import { Writer } from "./wire.ts";

/**
 * An agent's answer 5 (FAILURE) or 28 (EXTENSION_FAILURE): it refused and did not say why. Every method
 * of `AgentClient` rejects with it; `failureReason` then asks for the reason, if the agent tells one.
 */
export class AgentRefusal extends Error {
  override readonly name = "AgentRefusal";
  /** The number of the request that was refused. */
  readonly request: number;
  /** True for 28: the agent knows the extension, and it failed. */
  readonly isExtensionFailure: boolean;

  constructor(request: number, isExtensionFailure: boolean) {
    super("agent refused operation");
    this.request = request;
    this.isExtensionFailure = isExtensionFailure;
  }
}

interface Waiting {
  readonly request: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/**
 * One connection to an agent, and every verb of the agent protocol as a method. It works with any
 * agent; what is named `@cardagent.alt` only this project's knows, and others refuse it.
 *
 * Requests may be made without waiting for earlier ones: they travel at once, and each promise
 * settles with its own reply, for replies come in the order of requests (RFC 9987, section 3).
 */
export class AgentClient {
  /** The path of the agent's socket, if it is known. */
  readonly path: string | undefined;
  readonly #socket: Socket;
  readonly #frames = new FrameReader();
  readonly #waiting: Waiting[] = [];
  #ended: Error | undefined;

  /**
   * @param socket a connected stream to an agent, which this client takes over
   * @param path where it leads to
   */
  constructor(socket: Socket, path?: string) {
    this.path = path;
    this.#socket = socket;
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("error", (error) => this.#end(error));
    socket.on("close", () => this.#end(malformed("The agent closed the connection.")));
  }

  /**
   * Connects to an agent.
   * @param path its socket, as in SSH_AUTH_SOCK
   * @throws the system's error, when nobody answers there; {Failure} no-such-file, for no path
   */
  static connect(path: string): Promise<AgentClient> {
    return new Promise((resolve, reject) => {
      if (path === "")
        throw new Failure("no-such-file", "The path of the agent's socket is empty.");
      // Not the path alone: Node.js takes one that is a number for a TCP port.
      const socket = connect({ path });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new AgentClient(socket, path));
      });
    });
  }

  /** Ends the connection; what is still waiting is rejected. */
  close(): void {
    this.#socket.destroy();
  }

  /** Lists the identities (11). */
  async identities(): Promise<readonly Identity[]> {
    const reply = await this.request({ type: "request-identities" });
    if (reply.type !== "identities") throw unexpected(reply);
    return reply.identities;
  }

  /**
   * Signs (13).
   * @param flags see `signatureFlags`
   * @returns a signature blob
   */
  async sign(keyBlob: Buffer, data: Buffer, flags = 0): Promise<Buffer> {
    const reply = await this.request({ type: "sign", keyBlob, data, flags });
    if (reply.type !== "signature") throw unexpected(reply);
    return reply.signature;
  }

  /** Adds a private key, or one with its certificate (17, 25). */
  addIdentity(
    key: PrivateKey,
    comment: string,
    constraints: readonly Constraint[] = [],
  ): Promise<void> {
    return this.#succeed({ type: "add-identity", key, comment, constraints });
  }

  /** Removes an identity (18). */
  removeIdentity(keyBlob: Buffer): Promise<void> {
    return this.#succeed({ type: "remove-identity", keyBlob });
  }

  /** Removes all identities (19). */
  removeAllIdentities(): Promise<void> {
    return this.#succeed({ type: "remove-all-identities" });
  }

  /** Removes all identities of protocol 1 (9), which some old agents keep apart. */
  removeAllRsaIdentities(): Promise<void> {
    return this.#succeed({ type: "remove-all-rsa-identities" });
  }

  /** Loads a PKCS#11 provider and adds its keys (20, 26). The PIN's bytes remain the caller's. */
  addSmartcardKey(
    provider: string,
    pin: Buffer,
    constraints: readonly Constraint[] = [],
  ): Promise<void> {
    return this.#succeed({ type: "add-smartcard-key", provider, pin, constraints });
  }

  /** Removes the keys of a PKCS#11 provider and unloads it (21). */
  removeSmartcardKey(provider: string, pin: Buffer = Buffer.alloc(0)): Promise<void> {
    return this.#succeed({ type: "remove-smartcard-key", provider, pin });
  }

  /** Locks the agent (22). */
  lock(passphrase: Buffer): Promise<void> {
    return this.#succeed({ type: "lock", passphrase });
  }

  /** Unlocks the agent (23). */
  unlock(passphrase: Buffer): Promise<void> {
    return this.#succeed({ type: "unlock", passphrase });
  }

  /** The extensions that the agent knows (`query`). */
  async query(): Promise<string[]> {
    return decodeQueryReply(await this.extension(extensionNames.query));
  }

  /** Binds this connection to a session (`session-bind@openssh.com`). */
  async bindSession(bind: SessionBind): Promise<void> {
    await this.#extend(extensionNames.sessionBind, encodeSessionBind(bind));
  }

  /** The PKCS#11 providers that are loaded (`list-providers@cardagent.alt`). */
  async listProviders(): Promise<ProviderDescription[]> {
    return decodeListProvidersReply(await this.extension(extensionNames.listProviders));
  }

  /** Tells that a PKCS#11 provider is about to be added (`prepare-provider@cardagent.alt`). */
  async prepareProvider(provider: string): Promise<void> {
    const body = new Writer().text(provider).finish();
    await this.#extend(extensionNames.prepareProvider, body);
  }

  /** Unloads all PKCS#11 providers and keeps file keys (`remove-all-providers@cardagent.alt`). */
  async removeAllProviders(): Promise<void> {
    await this.#extend(extensionNames.removeAllProviders);
  }

  /** Attaches a certificate to a key that the agent has (`add-certificate@cardagent.alt`). */
  async addCertificate(request: AddCertificate): Promise<void> {
    await this.#extend(extensionNames.addCertificate, encodeAddCertificate(request));
  }

  /**
   * Why the last refused request on this connection was refused (`failure-reason@cardagent.alt`).
   * @returns undefined when none was, or when the agent does not tell reasons
   */
  async failureReason(): Promise<FailureReason | undefined> {
    try {
      return decodeFailureReason(await this.extension(extensionNames.failureReason));
    } catch (error) {
      if (error instanceof AgentRefusal) return undefined;
      throw error;
    }
  }

  /**
   * Makes an extension request (27) that answers with data.
   * @returns the body of the response
   */
  async extension(name: string, body: Buffer = Buffer.alloc(0)): Promise<Buffer> {
    const reply = await this.request({ type: "extension", name, body });
    if (reply.type !== "extension-response" || reply.name !== name) throw unexpected(reply);
    return reply.body;
  }

  /**
   * Sends any request and resolves with any reply but a refusal.
   * @throws {AgentRefusal} when the agent refuses; {Failure} when a message is too large or what
   *   comes back is no reply; the system's error when the connection breaks
   */
  request(request: Request): Promise<Reply> {
    if (this.#ended !== undefined) return Promise.reject(this.#ended);
    const message = encodeRequest(request);
    if (message.length > maxFrameLength) {
      return Promise.reject(new Failure("too-large", "The request is longer than 256 KiB."));
    }
    const framed = frame(message);
    message.fill(0);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request: requestNumber(request), resolve, reject });
      this.#socket.write(framed, () => framed.fill(0));
    });
  }

  async #succeed(request: Request): Promise<void> {
    const reply = await this.request(request);
    if (reply.type !== "success") throw unexpected(reply);
  }

  #extend(name: string, body: Buffer = Buffer.alloc(0)): Promise<void> {
    return this.#succeed({ type: "extension", name, body });
  }

  #receive(chunk: Buffer): void {
    try {
      for (const message of this.#frames.push(chunk)) this.#settle(decodeReply(message));
    } catch (error) {
      this.#end(error instanceof Error ? error : malformed("The agent's reply is not one."));
      this.#socket.destroy();
    }
  }

  #settle(reply: Reply): void {
    const waiting = this.#waiting.shift();
    if (waiting === undefined) throw malformed("The agent replied to nothing.");
    if (reply.type === "failure" || reply.type === "extension-failure") {
      const isExtensionFailure = reply.type === "extension-failure";
      waiting.reject(new AgentRefusal(waiting.request, isExtensionFailure));
    } else waiting.resolve(reply);
  }

  #end(error: Error): void {
    this.#ended ??= error;
    for (const waiting of this.#waiting.splice(0)) waiting.reject(error);
  }
}

function unexpected(reply: Reply): Failure {
  return malformed(`The agent's reply "${reply.type}" does not answer the request.`);
}
