/**
 * `add-certificate@cardagent.alt`: adds a certificate for a private key that the agent already has, on
 * a token or in memory. The reply is 6 (SUCCESS).
 */
import { type Constraint, readConstraints, writeConstraints } from "../constraints.ts";
import { Reader, Writer } from "../wire.ts";

/**
 * A certificate for a key that the agent already has, for `AgentClient.addCertificate`. The agent finds
 * the private key by the certificate's public key; it refuses an expired certificate and one whose key
 * it does not have.
 */
export interface AddCertificate {
  /** The certificate's blob. */
  readonly certificate: Buffer;
  /** If empty, the certificate gets the key's comment. */
  readonly comment: string;
  /** Whether the agent removes older certificates of this key by the same CA. */
  readonly replace: boolean;
  /** Further constraints; the certificate inherits those of the key. */
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
