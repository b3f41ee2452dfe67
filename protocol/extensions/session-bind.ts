/**
 * `session-bind@openssh.com`: ssh binds its connection to the agent to an SSH session (OpenSSH's
 * PROTOCOL.agent, section 1).
 */
import { Reader, Writer } from "../wire.ts";

/**
 * The session that a connection to the agent is bound to, with the host's signature as proof. The agent
 * enforces destination constraints with it.
 */
export interface SessionBind {
  /** The blob of the server's host key or host certificate. */
  readonly hostKey: Buffer;
  /** The session identifier: the exchange hash of the first key exchange. */
  readonly sessionId: Buffer;
  /** The host key's signature blob over the session identifier. */
  readonly signature: Buffer;
  /** Whether the connection is forwarded to that server, rather than used to log in there. */
  readonly isForwarding: boolean;
}

/** Encodes the body of the request. */
export function encodeSessionBind(bind: SessionBind): Buffer {
  return new Writer()
    .string(bind.hostKey)
    .string(bind.sessionId)
    .string(bind.signature)
    .bool(bind.isForwarding)
    .finish();
}

/** Decodes the body of the request. @throws {Failure} malformed */
export function decodeSessionBind(body: Uint8Array): SessionBind {
  const reader = new Reader(body);
  const hostKey = reader.string();
  const sessionId = reader.string();
  const signature = reader.string();
  const isForwarding = reader.bool();
  reader.end();
  return { hostKey, sessionId, signature, isForwarding };
}
