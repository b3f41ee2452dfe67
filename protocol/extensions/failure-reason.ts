/**
 * `failure-reason@cardagent.alt`: the reason why the last failed request of a connection failed. The
 * request has no body; the reply is 28 (EXTENSION_FAILURE) if no request has failed.
 */
import { type FailureCode, failureCodes } from "../failure.ts";
import { nameOfNumber } from "../numbers.ts";
import { Reader, Writer } from "../wire.ts";

/**
 * The reason for the last refusal on a connection, as `AgentClient.failureReason` returns it: a code for
 * programs, and a sentence and a hint to show to the user.
 */
export interface FailureReason {
  /** The number of the failed request. */
  readonly request: number;
  /** The reason; undefined for a code that this version does not know. */
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

/** Decodes the body of the reply and ignores trailing bytes. @throws {Failure} malformed */
export function decodeFailureReason(body: Uint8Array): FailureReason {
  const reader = new Reader(body);
  const request = reader.byte();
  const code = nameOfNumber(failureCodes, reader.uint32());
  const sentence = reader.text();
  return { request, code, sentence, hint: reader.text() };
}
