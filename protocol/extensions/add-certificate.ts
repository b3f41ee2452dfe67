/**
 * `add-certificate@cardagent.alt`: attaches a certificate to a private key that the agent has,
 * on a card or in memory, without sending that key. The reply is 6 (SUCCESS).
 */
import { type Constraint, readConstraints, writeConstraints } from "../constraints.ts";
import { Reader, Writer } from "../wire.ts";

/**
 * A certificate for a key that the agent has, on a card or in memory: what
 * `AgentClient.addCertificate` sends in place of the private key. The agent finds the key by the
 * certificate's public key and refuses an expired certificate, or one for no key that it has.
 */
export interface AddCertificate {
  /** The certificate's blob. */
  readonly certificate: Buffer;
  /** Empty: the comment of the key. */
  readonly comment: string;
  /** Whether older certificates of this key by the same CA key are dropped. */
  readonly replace: boolean;
  /** These narrow the key's own constraints, which the certificate inherits. */
  readonly constraints: readonly Constraint[];
}

/** Encodes the body of the request. */
export function encodeAddCertificate(request: AddCertificate): Buffer {
  const writer = new Writer().string(request.certificate).text(request.comment);
  writeConstraints(writer.bool(request.replace), request.constraints);
  return writer.finish();
}

/** Decodes the body of the request. @throws {Failure} malformed, unsupported */
export function decodeAddCertificate(body: Uint8Array): AddCertificate {
  const reader = new Reader(body);
  const certificate = reader.string();
  const comment = reader.cString();
  const replace = reader.bool();
  return { certificate, comment, replace, constraints: readConstraints(reader) };
}
