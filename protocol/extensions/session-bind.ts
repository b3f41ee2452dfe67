/**
 * `session-bind@openssh.com`: an ssh client tells the agent which session a connection is for
 * (OpenSSH's PROTOCOL.agent, section 1).
 */
import { Reader, Writer } from "../wire.ts";

/**
 * A session that a connection to the agent is bound to: the host that ssh logs in to, with the proof
 * that it is there. The agent obeys destination constraints by it.
 */
export interface SessionBind {
  /** The blob of the key or host certificate that the server proved itself with. */
  readonly hostKey: Buffer;
  /** The session identifier: the exchange hash of the first key exchange. */
  readonly sessionId: Buffer;
  /** The host key's signature blob over the session identifier. */
  readonly signature: Buffer;
  /** Whether the connection is being forwarded to that server, rather than used to log in there. */
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
