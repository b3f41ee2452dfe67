/**
 * The SSH sessions that a connection is bound to by `session-bind@openssh.com`; the one nearest to the
 * agent comes first.
 */
import { decodeSessionBind } from "../../protocol/extensions/session-bind.ts";
import { Failure, malformed } from "../../protocol/failure.ts";
import { type VerifiedKey, verifySessionBind } from "../../protocol/verification.ts";
import { checkHostCertificate } from "./host-certificate.ts";

/** A session that a connection is bound to. */
export interface BoundSession {
  readonly sessionId: Buffer;
  /** The host's key, verified. */
  readonly host: VerifiedKey;
  /** The blob of the host's key or certificate. */
  readonly hostBlob: Buffer;
  /** Whether the connection was forwarded through this session. */
  readonly isForwarding: boolean;
}

/**
 * Where a connection's client is: on this machine, behind the bound sessions, or unknown, because a
 * binding has failed.
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

  get binding(): Binding {
    if (this.#state !== "bound") return { state: this.#state };
    return { state: "bound", sessions: this.#sessions };
  }

  /** Whether the client is, or may be, on another machine. A failed binding counts. */
  get isRemote(): boolean {
    return this.#state !== "local";
  }

  /**
   * Binds the connection to another session; repeating a binding is allowed. The state is "failed" before
   * anything is decoded, and stays so after any failure: the unknown session may be a hop through which
   * later sessions are reached.
   * @param body of the request
   * @param now seconds since 1970
   * @throws {Failure} malformed, if the host key's signature or certificate is invalid; unsupported, if
   *   the connection cannot be bound further
   */
  bind(body: Buffer, now: bigint): BoundSession {
    const hasFailed = this.#state === "failed";
    this.#state = "failed";
    // A copy: the request's buffer is overwritten after the reply.
    const { hostKey: hostBlob, sessionId, ...bind } = decodeSessionBind(Buffer.from(body));
    if (sessionId.length === 0 || sessionId.length > maxSessionIdLength) {
      throw malformed("Invalid length of the session identifier.");
    }
    const host = verifySessionBind({ hostKey: hostBlob, sessionId, ...bind });
    if (host.certificate !== undefined) checkHostCertificate(host.certificate, now);
    const session = { sessionId, host, hostBlob, isForwarding: bind.isForwarding };
    if (!this.#isBound(session)) this.#sessions = [...this.#sessions, session];
    if (!hasFailed) this.#state = "bound";
    return session;
  }

  /** Whether a session is bound already. @throws {Failure} unsupported, if it cannot be bound */
  #isBound({ sessionId, hostBlob }: BoundSession): boolean {
    for (const session of this.#sessions) {
      if (!session.isForwarding) {
        throw refused("The connection is already bound for authentication.");
      }
      if (!session.sessionId.equals(sessionId)) continue;
      if (session.hostBlob.equals(hostBlob)) return true;
      throw refused("The session is already bound to another host key.");
    }
    if (this.#sessions.length >= maxSessions) throw refused("Too many sessions are bound.");
    return false;
  }
}

function refused(sentence: string): Failure {
  return new Failure("unsupported", sentence, "Open a new connection to the agent.");
}
