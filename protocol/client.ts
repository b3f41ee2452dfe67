/** A client of the agent protocol. */
import { connect, type Socket } from "node:net";
import type { Constraint } from "./constraints.ts";
import { type AddCertificate, encodeAddCertificate } from "./extensions/add-certificate.ts";
import { decodeFailureReason, type FailureReason } from "./extensions/failure-reason.ts";
import { decodeListProvidersReply, type ProviderDescription } from "./extensions/list-providers.ts";
import { decodeListRenewalsReply, type RenewalDescription } from "./extensions/list-renewals.ts";
import { decodeListUpstreamsReply, type UpstreamDescription } from "./extensions/list-upstreams.ts";
import { extensionNames } from "./extensions/names.ts";
import { encodePrepareProvider, type Variable } from "./extensions/prepare-provider.ts";
import { decodeQueryReply } from "./extensions/query.ts";
import { encodeSessionBind, type SessionBind } from "./extensions/session-bind.ts";
import { Failure, malformed } from "./failure.ts";
import { FrameReader, lengthSize } from "./framing.ts";
import { maxFrameLength } from "./numbers.ts";
import type { PrivateKey } from "./private-key.ts";
import { decodeReply, type Identity, type Reply } from "./replies.ts";
import { frameRequest, type Request, requestNumber } from "./requests.ts";

/**
 * An agent's reply 5 (FAILURE) or 28 (EXTENSION_FAILURE), which has no reason. The methods of
 * `AgentClient` reject with it; `failureReason` then asks the agent for the reason.
 */
export class AgentRefusal extends Error {
  override readonly name = "AgentRefusal";
  /** The number of the refused request. */
  readonly request: number;
  /** Whether the reply was 28: the agent supports the extension, but the request failed. */
  readonly isExtensionFailure: boolean;

  constructor(request: number, isExtensionFailure: boolean) {
    super("agent refused operation");
    this.request = request;
    this.isExtensionFailure = isExtensionFailure;
  }
}

interface PendingRequest {
  readonly request: number;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A connection to an agent, with a method for each request of the agent protocol. It works with any
 * agent; other agents than cardagent refuse the extensions at `cardagent.alt`.
 *
 * Requests need not wait for earlier replies: each is sent at once, and its promise settles with its
 * own reply, since an agent replies in the order of the requests (RFC 9987, section 3).
 */
export class AgentClient {
  /** The path of the agent's socket, if known. */
  readonly path: string | undefined;
  readonly #socket: Socket;
  readonly #frames = new FrameReader();
  readonly #pending: PendingRequest[] = [];
  #closeReason: Error | undefined;

  /**
   * @param socket a connection to an agent, which this client takes over
   * @param path of the agent's socket
   */
  constructor(socket: Socket, path?: string) {
    this.path = path;
    this.#socket = socket;
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("error", (error) => this.#rejectAll(error));
    socket.on("close", () => this.#rejectAll(new Error("The agent closed the connection.")));
  }

  /**
   * Connects to an agent.
   * @param path of its socket, as in SSH_AUTH_SOCK
   * @throws the system's error if the connection fails; {Failure} no-such-file, for an empty path
   */
  static connect(path: string): Promise<AgentClient> {
    return new Promise((resolve, reject) => {
      if (path === "")
        throw new Failure("no-such-file", "The path of the agent's socket is empty.");
      // connect(path) would take a path such as "22" for a TCP port.
      const socket = connect({ path });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        resolve(new AgentClient(socket, path));
      });
    });
  }

  /** Closes the connection and rejects all pending requests. */
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
   * @returns the signature blob
   */
  async sign(keyBlob: Buffer, data: Buffer, flags = 0): Promise<Buffer> {
    const reply = await this.request({ type: "sign", keyBlob, data, flags });
    if (reply.type !== "signature") throw unexpected(reply);
    return reply.signature;
  }

  /** Adds a private key, with or without a certificate (17, 25). */
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

  /** Removes all identities of protocol 1 (9), which some old agents keep separately. */
  removeAllRsaIdentities(): Promise<void> {
    return this.#succeed({ type: "remove-all-rsa-identities" });
  }

  /** Loads a PKCS#11 provider and adds its keys (20, 26). The caller overwrites `pin`. */
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

  /** The agents behind this one (`list-upstreams@cardagent.alt`). */
  async listUpstreams(): Promise<UpstreamDescription[]> {
    return decodeListUpstreamsReply(await this.extension(extensionNames.listUpstreams));
  }

  /** The certificates that the agent renews by itself (`list-renewals@cardagent.alt`). */
  async listRenewals(): Promise<RenewalDescription[]> {
    return decodeListRenewalsReply(await this.extension(extensionNames.listRenewals));
  }

  /**
   * Tells that a PKCS#11 provider is about to be added (`prepare-provider@cardagent.alt`).
   * @param environment the client's environment variables for PKCS#11 libraries
   */
  async prepareProvider(provider: string, environment: readonly Variable[] = []): Promise<void> {
    const body = encodePrepareProvider({ provider, environment });
    await this.#extend(extensionNames.prepareProvider, body);
  }

  /** Unloads all PKCS#11 providers and keeps file keys (`remove-all-providers@cardagent.alt`). */
  async removeAllProviders(): Promise<void> {
    await this.#extend(extensionNames.removeAllProviders);
  }

  /** Adds a certificate for a key that the agent already has (`add-certificate@cardagent.alt`). */
  async addCertificate(request: AddCertificate): Promise<void> {
    await this.#extend(extensionNames.addCertificate, encodeAddCertificate(request));
  }

  /**
   * The reason for the last refusal on this connection (`failure-reason@cardagent.alt`).
   * @returns undefined if there was no refusal, or the agent does not support the extension
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
   * Sends an extension request (27) that has a response.
   * @returns the body of the response
   */
  async extension(name: string, body: Buffer = Buffer.alloc(0)): Promise<Buffer> {
    const reply = await this.request({ type: "extension", name, body });
    if (reply.type !== "extension-response" || reply.name !== name) throw unexpected(reply);
    return reply.body;
  }

  /**
   * Sends any request and resolves with its reply.
   * @throws {AgentRefusal} if the agent refuses; {Failure} if the request is too large or the reply
   *   invalid; the system's error if the connection breaks
   */
  request(request: Request): Promise<Reply> {
    if (this.#closeReason !== undefined) return Promise.reject(this.#closeReason);
    const framed = frameRequest(request);
    if (framed.length - lengthSize > maxFrameLength) {
      framed.fill(0);
      return Promise.reject(new Failure("too-large", "The request is longer than 256 KiB."));
    }
    return new Promise((resolve, reject) => {
      this.#pending.push({ request: requestNumber(request), resolve, reject });
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
      this.#rejectAll(error instanceof Error ? error : malformed("Invalid reply from the agent."));
      this.#socket.destroy();
    }
  }

  #settle(reply: Reply): void {
    const pending = this.#pending.shift();
    if (pending === undefined) throw malformed("The agent sent a reply without a request.");
    if (reply.type === "failure" || reply.type === "extension-failure") {
      pending.reject(new AgentRefusal(pending.request, reply.type === "extension-failure"));
    } else pending.resolve(reply);
  }

  #rejectAll(error: Error): void {
    this.#closeReason ??= error;
    for (const pending of this.#pending.splice(0)) pending.reject(error);
  }
}

function unexpected(reply: Reply): Failure {
  return malformed(`The agent's reply "${reply.type}" does not answer the request.`);
}
