/** A client's own connection to an upstream agent. */
import { AgentClient, AgentRefusal } from "../../protocol/client.ts";
import { encodeAgentPath } from "../../protocol/extensions/agent-path.ts";
import { extensionNames } from "../../protocol/extensions/names.ts";
import { Failure } from "../../protocol/failure.ts";
import { blobId } from "../../protocol/public-key.ts";
import type { Identity } from "../../protocol/replies.ts";
import type { Clock } from "../host/clock.ts";
import { type Upstream, UpstreamFailed } from "./upstream.ts";

/** Time limits, in milliseconds. */
export interface UpstreamLimits {
  /** For identities. An upstream that exceeds it is hanging. */
  readonly list: number;
  /** For other lists, such as that of providers. */
  readonly details: number;
  /** As long as a card may take. */
  readonly sign: number;
  readonly other: number;
}

/** An identity that an upstream agent lists on a client's connection. */
export interface UpstreamIdentity extends Identity {
  readonly connection: UpstreamConnection;
}

/** By blob ID, in the order of the upstream's list. */
export type UpstreamList = ReadonlyMap<string, UpstreamIdentity>;

/** Milliseconds until an upstream that hangs is tried again: another may listen at its socket by then. */
const hangingTime = 10_000;

/** What an upstream agent has to be told about the client before its first request. */
export interface ClientHistory {
  /** The agents that the client's connection has passed, this one last. */
  readonly path: readonly Buffer[];
  /** The bodies of its `session-bind@openssh.com` requests, in order. */
  readonly binds: readonly Buffer[];
  /** The client's process; undefined if it is this agent itself. */
  readonly clientPid: number | undefined;
}

interface OpenConnection {
  readonly client: AgentClient;
  /** Rejects if this agent is the upstream's own upstream. */
  readonly accepted: Promise<void>;
}

/** A connection, from the attempt to open it. */
interface Attempt {
  readonly opened: Promise<OpenConnection>;
  /** Its client, once the upstream has accepted it: then requests are sent without waiting. */
  accepted: AgentClient | undefined;
}

/**
 * A connection that is opened for the first request and again after it has broken, with the client's
 * session bindings, so that the upstream's own destination constraints hold.
 */
export class UpstreamConnection {
  readonly upstream: Upstream;
  readonly #clock: Clock;
  readonly #limits: UpstreamLimits;
  readonly #history: () => ClientHistory;
  #open: Attempt | undefined;
  #isClosed = false;
  #lastList: UpstreamList = new Map();

  constructor(
    upstream: Upstream,
    clock: Clock,
    limits: UpstreamLimits,
    history: () => ClientHistory,
  ) {
    this.upstream = upstream;
    this.#clock = clock;
    this.#limits = limits;
    this.#history = history;
  }

  /** Its identities that clients can read. @throws {UpstreamFailed} at once, if it hangs */
  async list(): Promise<UpstreamList> {
    this.#lastList = new Map();
    this.upstream.throwIfHanging();
    const listed = await this.#request((client) => client.identities(), "list");
    const list = new Map<string, UpstreamIdentity>();
    for (const [id, { keyBlob, comment }] of this.upstream.readable(listed)) {
      list.set(id, { keyBlob, comment, connection: this });
    }
    this.#lastList = list;
    return list;
  }

  /**
   * Asks for another list than that of the identities, which is asked for too: it tells whether the
   * upstream hangs, or is slow with this one only.
   * @throws {UpstreamFailed}
   */
  async listDetails<Result>(ask: (client: AgentClient) => Promise<Result>): Promise<Result> {
    this.upstream.throwIfHanging();
    const [, details] = await Promise.all([this.list(), this.#request(ask, "details")]);
    return details;
  }

  /**
   * Sends a request that takes longer than a list, once the upstream has listed its identities in time.
   * @throws {UpstreamFailed}
   */
  async requestOnceListed<Result>(ask: (client: AgentClient) => Promise<Result>): Promise<Result> {
    await this.list();
    return this.#request(ask, "other");
  }

  /** The identity with a blob in the last list. */
  find(blob: Buffer): UpstreamIdentity | undefined {
    return this.#lastList.get(blobId(blob));
  }

  /** Signs, with the flags as they came. @throws {UpstreamFailed} @returns the signature blob */
  sign(keyBlob: Buffer, data: Buffer, flags: number): Promise<Buffer> {
    return this.#request((client) => client.sign(keyBlob, data, flags), "sign");
  }

  /** Removes one identity. @throws {UpstreamFailed} */
  async remove(blob: Buffer): Promise<void> {
    await this.#request((client) => client.removeIdentity(blob), "other");
    this.#lastList = new Map();
  }

  /** Removes all identities. @throws {UpstreamFailed} */
  async removeAll(): Promise<void> {
    await this.requestOnceListed((client) => client.removeAllIdentities());
    this.#lastList = new Map();
  }

  /** Passes on a session binding, if the connection is open; otherwise it is sent when it opens. */
  bind(body: Buffer): void {
    void this.#open?.opened.then(({ client }) => sendBind(client, body)).catch(() => {});
  }

  /**
   * Sends a request. A connection that broke since the last request is opened again, once.
   * @throws {UpstreamFailed} also with the upstream's own reason for a refusal, if it tells
   */
  async #request<Result>(
    ask: (client: AgentClient) => Promise<Result>,
    kind: keyof UpstreamLimits,
  ): Promise<Result> {
    const wasOpen = this.#open !== undefined;
    try {
      return await this.#ask(ask, kind);
    } catch (error) {
      if (!wasOpen || !(error instanceof UpstreamFailed) || error.state !== "gone") throw error;
      return this.#ask(ask, kind);
    }
  }

  async #ask<Result>(
    ask: (client: AgentClient) => Promise<Result>,
    kind: keyof UpstreamLimits,
  ): Promise<Result> {
    this.#open ??= { opened: this.#connect(), accepted: undefined };
    const open = this.#open;
    const answer =
      open.accepted === undefined
        ? this.#askFirst(open, ask)
        : explained(open.accepted, this.upstream, ask);
    try {
      const reply = await this.#inTime(answer, this.#limit(kind));
      this.upstream.note("ready");
      return reply;
    } catch (error) {
      const failure = this.#asFailure(error);
      if (failure.state === "ready") throw failure; // refused: the connection can be used further
      if (kind === "list" && failure.state === "slow") this.#waitOn(open, answer, failure);
      else {
        this.upstream.note(failure);
        this.#drop(open);
      }
      throw failure;
    }
  }

  /** Asks on a connection that is being opened. */
  async #askFirst<Result>(
    open: Attempt,
    ask: (client: AgentClient) => Promise<Result>,
  ): Promise<Result> {
    const { client, accepted } = await open.opened;
    try {
      return await explained(client, this.upstream, ask);
    } finally {
      await accepted; // its error is that of the request
      open.accepted = client;
    }
  }

  /** Closes the connection, which lets the upstream withdraw its questions to the user. */
  close(): void {
    this.#isClosed = true;
    if (this.#open !== undefined) this.#drop(this.#open);
  }

  #drop(open: Attempt): void {
    if (this.#open !== open) return;
    this.#open = undefined;
    closeOnceOpen(open);
  }

  /** Keeps a connection for the answer to its list, also when the client has gone. */
  #waitOn(open: Attempt, answer: Promise<unknown>, failure: UpstreamFailed): void {
    if (this.#open === open) this.#open = undefined;
    const settled = this.#inTime(answer, hangingTime).then(
      () => "ready" as const,
      (error: unknown) => this.#asFailure(error),
    );
    this.upstream.noteHanging(failure, settled, () => closeOnceOpen(open));
  }

  async #connect(): Promise<OpenConnection> {
    const { upstream } = this;
    const client = new AgentClient(await upstream.connect(), upstream.path);
    if (this.#isClosed) client.close();
    const { path, binds, clientPid } = this.#history();
    // A detour over an agent that passes on no path.
    if (clientPid !== undefined && clientPid === upstream.pid) {
      client.close();
      throw isOwnUpstream(upstream);
    }
    // Replies come in the order of the requests, so the first request need not wait for these.
    const accepted = client
      .request({ type: "extension", name: extensionNames.agentPath, body: encodeAgentPath(path) })
      .then(
        () => undefined,
        (error: unknown) => {
          if (!(error instanceof AgentRefusal)) throw error;
          // Other agents refuse what they do not know by a plain failure.
          if (error.isExtensionFailure) throw isOwnUpstream(upstream);
        },
      );
    accepted.catch(() => {});
    for (const body of binds) sendBind(client, body);
    return { client, accepted };
  }

  /**
   * The agents before this one wait as long as it would: it waits less for a list, so that it can still
   * give them its own.
   */
  #limit(kind: keyof UpstreamLimits): number {
    const agentsBefore =
      kind === "list" || kind === "details" ? this.#history().path.length - 1 : 0;
    return this.#limits[kind] * Math.max(0.5, 1 - agentsBefore / 5);
  }

  #inTime<Result>(answer: Promise<Result>, limit: number): Promise<Result> {
    return new Promise((resolve, reject) => {
      const cancel = this.#clock.after(limit, () =>
        reject(this.upstream.failed("slow", `did not answer within ${limit / 1000} s`)),
      );
      answer.then(resolve, reject);
      answer.then(cancel, cancel);
    });
  }

  #asFailure(error: unknown): UpstreamFailed {
    const { upstream } = this;
    if (error instanceof UpstreamFailed) return error;
    if (error instanceof Failure) return upstream.failed("invalid", "gave an invalid reply");
    return upstream.failed("gone", "closed the connection");
  }
}

function closeOnceOpen({ opened }: Attempt): void {
  opened.then(({ client }) => client.close()).catch(() => {});
}

function isOwnUpstream(upstream: Upstream): UpstreamFailed {
  return upstream.failed("refused", "is not used: this agent is one of its own upstreams");
}

/** An upstream that does not know session bindings refuses them, which is no error. */
function sendBind(client: AgentClient, body: Buffer): void {
  const request = { type: "extension", name: extensionNames.sessionBind, body } as const;
  client.request(request).catch(() => {});
}

/** Asks, and explains a refusal by the upstream's own reason, or else by what is known about it. */
async function explained<Result>(
  client: AgentClient,
  upstream: Upstream,
  ask: (client: AgentClient) => Promise<Result>,
): Promise<Result> {
  try {
    return await ask(client);
  } catch (error) {
    if (!(error instanceof AgentRefusal)) throw error;
    const own = await client.failureReason();
    if (own?.request === error.request) {
      // Its hints name commands that have to reach it, not this agent.
      const hint = own.hint === "" ? undefined : `With SSH_AUTH_SOCK=${upstream.path}: ${own.hint}`;
      throw upstream.failed("ready", `refused: ${withoutStop(own.sentence)}`, hint);
    }
    const known = (await upstream.identify()).known?.refusals[error.request];
    if (known === undefined) throw upstream.failed("ready", "refused the operation");
    throw upstream.failed("ready", `refused: ${withoutStop(known.reason)}`, known.hint);
  }
}

function withoutStop(sentence: string): string {
  return sentence.replace(/\.$/, "");
}
