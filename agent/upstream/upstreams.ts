/** The upstream agents of this agent, and a client's connections to them. */
import { randomBytes } from "node:crypto";
import { agentIdLength } from "../../protocol/extensions/agent-path.ts";
import type {
  UpstreamDescription,
  UpstreamState,
} from "../../protocol/extensions/list-upstreams.ts";
import { Failure } from "../../protocol/failure.ts";
import type { Clock } from "../host/clock.ts";
import { Upstream, UpstreamFailed, type UpstreamOption, type UpstreamSystem } from "./upstream.ts";
import {
  type ClientHistory,
  UpstreamConnection,
  type UpstreamIdentity,
  type UpstreamLimits,
  type UpstreamList,
} from "./upstream-connection.ts";

/** What the upstream agents of an agent are made of. */
export interface UpstreamParts extends UpstreamSystem {
  readonly options: readonly UpstreamOption[];
  readonly limits: UpstreamLimits;
  readonly clock: Clock;
}

const noIdentities: UpstreamList = new Map();

/** The most bindings that are passed on: OpenSSH's agent accepts as many. */
const maxBinds = 16;

/** The upstream agents, in the order of the options. */
export class Upstreams {
  /** Tells this agent from others in `agent-path@cardagent.alt`. */
  readonly id = randomBytes(agentIdLength);
  readonly #parts: UpstreamParts;
  readonly #upstreams: readonly Upstream[];
  readonly #none: ClientUpstreams;

  constructor(parts: UpstreamParts) {
    this.#parts = parts;
    this.#upstreams = parts.options.map((option) => new Upstream(option, parts));
    this.#none = new ClientUpstreams(parts, [], this.id);
  }

  get count(): number {
    return this.#upstreams.length;
  }

  /**
   * The connections of one client, opened when they are needed.
   * @param clientPid its process, which is not asked as an upstream
   */
  forClient(clientPid?: number): ClientUpstreams {
    if (this.#upstreams.length === 0) return this.#none;
    return new ClientUpstreams(this.#parts, this.#upstreams, this.id, clientPid);
  }
}

/** One client's connections to all upstream agents. */
export class ClientUpstreams {
  #connections: readonly UpstreamConnection[];
  #path: readonly Buffer[];
  readonly #binds: Buffer[] = [];
  /** Why upstreams are missing in the last list. */
  #missing: readonly UpstreamFailed[] = [];

  /** @param id this agent's own */
  constructor(
    parts: UpstreamParts,
    upstreams: readonly Upstream[],
    id: Buffer,
    clientPid?: number,
  ) {
    this.#path = [id];
    const history = (): ClientHistory => ({ path: this.#path, binds: this.#binds, clientPid });
    this.#connections = upstreams.map(
      (upstream) => new UpstreamConnection(upstream, parts.clock, parts.limits, history),
    );
  }

  get isEmpty(): boolean {
    return this.#connections.length === 0;
  }

  /** Notes the agents that the client's connection has passed before this one. */
  follow(path: readonly Buffer[]): void {
    if (!this.isEmpty) this.#path = [...path.map((id) => Buffer.from(id)), ...this.#path.slice(-1)];
  }

  /**
   * Passes a `session-bind@openssh.com` request on, whether or not this agent accepts it: the upstream
   * agents decide for themselves. A client with more bindings than they accept has no upstream agents
   * from then on, since their destination constraints would not hold.
   * @throws {Failure} unsupported, for such a client
   */
  bind(body: Buffer): void {
    if (this.isEmpty || this.#binds.some((bound) => bound.equals(body))) return;
    if (this.#binds.length >= maxBinds) {
      this.leave();
      throw new Failure("unsupported", "Too many sessions are bound.");
    }
    const copy = Buffer.from(body);
    for (const connection of this.#connections) connection.bind(copy);
    this.#binds.push(copy);
  }

  /** All identities, in the order of the upstreams, each blob once. Those that fail are left out. */
  async list(): Promise<UpstreamList> {
    const missing: UpstreamFailed[] = [];
    const lists = await Promise.all(
      this.#connections.map((connection) =>
        connection.list().catch((error: unknown) => {
          if (error instanceof UpstreamFailed) missing.push(error);
          return noIdentities;
        }),
      ),
    );
    this.#missing = missing;
    const all = new Map<string, UpstreamIdentity>();
    for (const list of lists) {
      for (const [id, identity] of list) if (!all.has(id)) all.set(id, identity);
    }
    return all;
  }

  /** A hint about a key that nobody lists: an upstream agent that did not list any may have it. */
  get missingHint(): string | undefined {
    const [failed] = this.#missing;
    return failed && `An agent behind this one may have it. ${failed.message} ${failed.hint}`;
  }

  /**
   * Finds the first upstream identity with one of some blobs, in the last lists or else in new ones.
   * @param blobs in the order of preference
   */
  async find(blobs: readonly Buffer[]): Promise<UpstreamIdentity | undefined> {
    return this.findListed(blobs) ?? ((await this.list()) && this.findListed(blobs));
  }

  /** Finds it in the last lists only. */
  findListed(blobs: readonly Buffer[]): UpstreamIdentity | undefined {
    for (const blob of blobs) {
      for (const connection of this.#connections) {
        const identity = connection.find(blob);
        if (identity !== undefined) return identity;
      }
    }
    return undefined;
  }

  /** The client's connection to an upstream agent. @throws {Failure} if that is no more */
  to(path: string): UpstreamConnection {
    const found = this.#connections.find(({ upstream }) => upstream.path === path);
    if (found !== undefined) return found;
    throw new Failure("key-not-found", `This agent has no upstream at ${path}.`);
  }

  /**
   * Removes an identity from all that list it.
   * @returns whether there were any
   * @throws {UpstreamFailed} the first refusal, after all were asked
   */
  async remove(blob: Buffer): Promise<boolean> {
    await this.list();
    const holders = this.#connections.filter((connection) => connection.find(blob));
    await this.#all(holders, (connection) => connection.remove(blob));
    return holders.length > 0;
  }

  /**
   * Removes all identities of all; one that is gone or not used shows none here.
   * @throws {UpstreamFailed} the first refusal, after all were asked
   */
  removeAll(): Promise<void> {
    return this.#all(this.#connections, (connection) =>
      connection.removeAll().catch((error: unknown) => {
        const state = error instanceof UpstreamFailed ? error.state : "invalid";
        if (state !== "gone" && state !== "refused") throw error;
      }),
    );
  }

  /**
   * Asks all at once for something that they may not support.
   * @returns the answers of those that do
   */
  async gather<Result>(
    ask: (connection: UpstreamConnection) => Promise<Result>,
  ): Promise<Result[]> {
    const answers = await Promise.allSettled(
      this.#connections.map((connection) => ask(connection)),
    );
    return answers.flatMap((answer) => (answer.status === "fulfilled" ? [answer.value] : []));
  }

  /** Describes the upstream agents, each asked for its list. */
  describe(): Promise<UpstreamDescription[]> {
    return Promise.all(
      this.#connections.map(async (connection) => {
        const { upstream } = connection;
        let state: UpstreamState = "ready";
        const listed = await connection.list().catch((error: unknown) => {
          state = error instanceof UpstreamFailed ? error.state : "invalid";
          return noIdentities;
        });
        const { name } = await upstream.identify();
        return {
          path: upstream.path,
          state,
          name,
          identities: Array.from(listed.values(), ({ keyBlob }) => keyBlob),
        };
      }),
    );
  }

  /** Does without upstream agents from now on. */
  leave(): void {
    this.close();
    this.#connections = [];
  }

  close(): void {
    for (const connection of this.#connections) connection.close();
  }

  async #all(
    connections: readonly UpstreamConnection[],
    act: (connection: UpstreamConnection) => Promise<void>,
  ): Promise<void> {
    const results = await Promise.allSettled(connections.map(act));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }
}
