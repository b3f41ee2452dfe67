/**
 * What a connection is bound to: the sessions that ssh clients told the agent of with
 * `session-bind@openssh.com`, first the one nearest to the agent.
 */
import { type Identified, identify } from "../../protocol/certificate.ts";
import type { SessionBind } from "../../protocol/extensions/session-bind.ts";
import { Failure, malformed } from "../../protocol/failure.ts";
import { verifySessionBind } from "../../protocol/verification.ts";

/** A session that a connection is bound to. */
export interface BoundSession {
  readonly sessionId: Buffer;
  /** The host's key or certificate. */
  readonly host: Identified;
  /** The blob that the host proved itself with. */
  readonly hostBlob: Buffer;
  /** Whether the connection was forwarded through this session. */
  readonly isForwarding: boolean;
}

const mostSessions = 16;
const longestSessionId = 128;

/** The sessions of one connection. */
export class SessionBindings {
  readonly #sessions: BoundSession[] = [];
  #attempted = false;

  get sessions(): readonly BoundSession[] {
    return this.#sessions;
  }

  /**
   * Whether the connection is, or claims to be, for another machine. A binding that failed counts:
   * nobody on this machine makes one by mistake.
   */
  get isRemote(): boolean {
    return this.#attempted;
  }

  /**
   * Binds the connection to one more session. Repeating a binding is fine.
   * @throws {Failure} malformed, when the host key did not sign the session; unsupported, when the
   *   connection cannot be bound any further
   */
  bind(bind: SessionBind): void {
    this.#attempted = true;
    const { sessionId, isForwarding } = bind;
    // What is kept must not be a view of the request, whose bytes are overwritten.
    const hostBlob = Buffer.from(bind.hostKey);
    const host = identify(hostBlob);
    if (host === undefined) throw malformed("The session's host key is of an unknown type.");
    if (sessionId.length === 0 || sessionId.length > longestSessionId) {
      throw malformed("The session identifier has no fitting length.");
    }
    if (!verifySessionBind(bind)) throw malformed("The host key did not sign the session.");
    for (const session of this.#sessions) {
      if (!session.isForwarding) {
        throw refused("The connection is bound to a login already.");
      }
      if (!session.sessionId.equals(sessionId)) continue;
      if (session.hostBlob.equals(bind.hostKey)) return;
      throw refused("The session is bound to another host key already.");
    }
    if (this.#sessions.length >= mostSessions) throw refused("Too many sessions are bound.");
    this.#sessions.push({ sessionId: Buffer.from(sessionId), host, hostBlob, isForwarding });
  }
}

function refused(sentence: string): Failure {
  return new Failure("unsupported", sentence, "Open a new connection to the agent.");
}
