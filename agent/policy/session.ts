/**
 * What a connection is bound to: the sessions that ssh clients told the agent of with
 * `session-bind@openssh.com`, first the one nearest to the agent.
 */
import { decodeSessionBind } from "../../protocol/extensions/session-bind.ts";
import { Failure, malformed } from "../../protocol/failure.ts";
import { type VerifiedKey, verifySessionBind } from "../../protocol/verification.ts";
import { checkHostCertificate } from "./host-certificate.ts";

/** A session that a connection is bound to. */
export interface BoundSession {
  readonly sessionId: Buffer;
  /** The host's key or certificate. */
  readonly host: VerifiedKey;
  /** The blob that the host proved itself with. */
  readonly hostBlob: Buffer;
  /** Whether the connection was forwarded through this session. */
  readonly isForwarding: boolean;
}

/**
 * Where the client of a connection is: on this machine; behind the sessions that were bound; or
 * nobody knows where, because a binding has failed.
 */
export type Binding =
  | { readonly state: "local" }
  | { readonly state: "bound"; readonly sessions: readonly BoundSession[] }
  | { readonly state: "failed" };

const maxSessions = 16;
const maxSessionIdLength = 128;

/** The sessions of one connection. */
export class SessionBindings {
  #sessions: readonly BoundSession[] = [];
  #state: Binding["state"] = "local";

  /** What the connection is bound to. */
  get binding(): Binding {
    if (this.#state !== "bound") return { state: this.#state };
    return { state: "bound", sessions: this.#sessions };
  }

  /** Whether the connection is, or claims to be, for another machine; a binding that failed counts. */
  get isRemote(): boolean {
    return this.#state !== "local";
  }

  /**
   * Binds the connection to one more session. Repeating a binding is fine. The attempt counts before
   * anything is decoded. One that failed leaves a gap among the hops that no later one can close: what
   * is bound afterwards may be reached through a host that nobody has named.
   * @param body of the request
   * @param now seconds since 1970
   * @throws {Failure} malformed, when the host key did not sign the session or its certificate is not
   *   good; unsupported, when the connection cannot be bound any further
   */
  bind(body: Buffer, now: bigint): BoundSession {
    const hasFailed = this.#state === "failed";
    this.#state = "failed";
    // What is kept must not be a view of the request, whose bytes are overwritten.
    const { hostKey: hostBlob, sessionId, ...bind } = decodeSessionBind(Buffer.from(body));
    if (sessionId.length === 0 || sessionId.length > maxSessionIdLength) {
      throw malformed("The session identifier has no fitting length.");
    }
    const host = verifySessionBind({ hostKey: hostBlob, sessionId, ...bind });
    if (host.certificate !== undefined) checkHostCertificate(host.certificate, now);
    const session = { sessionId, host, hostBlob, isForwarding: bind.isForwarding };
    if (!this.#isBound(session)) this.#sessions = [...this.#sessions, session];
    if (!hasFailed) this.#state = "bound";
    return session;
  }

  /** Whether a session is bound already. @throws {Failure} unsupported, when it cannot be bound */
  #isBound({ sessionId, hostBlob }: BoundSession): boolean {
    for (const session of this.#sessions) {
      if (!session.isForwarding) {
        throw refused("The connection is bound to a login already.");
      }
      if (!session.sessionId.equals(sessionId)) continue;
      if (session.hostBlob.equals(hostBlob)) return true;
      throw refused("The session is bound to another host key already.");
    }
    if (this.#sessions.length >= maxSessions) throw refused("Too many sessions are bound.");
    return false;
  }
}

function refused(sentence: string): Failure {
  return new Failure("unsupported", sentence, "Open a new connection to the agent.");
}
