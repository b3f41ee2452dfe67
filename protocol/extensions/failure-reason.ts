/**
 * `failure-reason@cardagent.alt`: why the last request on this connection that failed did.
 * The request has no body; the reply is 28 (EXTENSION_FAILURE) when none failed.
 */
import { type FailureCode, failureCodeName, failureCodes } from "../failure.ts";
import { Reader, Writer } from "../wire.ts";

/**
 * Why the last refused request on a connection was refused, as `AgentClient.failureReason` gets it:
 * a code for programs, and a sentence and a hint to be shown to people as they are.
 */
export interface FailureReason {
  /** The number of the request that failed. */
  readonly request: number;
  /** The reason; undefined for one that this version does not know. */
  readonly code: FailureCode | undefined;
  readonly sentence: string;
  readonly hint: string;
}

/** Encodes the body of the reply. */
export function encodeFailureReason(reason: FailureReason): Buffer {
  const code = reason.code === undefined ? 0 : failureCodes[reason.code];
  const writer = new Writer().byte(reason.request).uint32(code);
  return writer.text(reason.sentence).text(reason.hint).finish();
}

/** Decodes the body of the reply; bytes at its end are ignored. @throws {Failure} malformed */
export function decodeFailureReason(body: Uint8Array): FailureReason {
  const reader = new Reader(body);
  const request = reader.byte();
  const code = failureCodeName(reader.uint32());
  const sentence = reader.text();
  return { request, code, sentence, hint: reader.text() };
}
