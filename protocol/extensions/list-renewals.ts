/**
 * `list-renewals@cardagent.alt`: the certificates that the agent renews by itself. The request has no
 * body.
 */
import { malformed } from "../failure.ts";
import { nameOfNumber } from "../numbers.ts";
import { Reader, readStrings, Writer } from "../wire.ts";

/** The states of a renewal and their numbers on the wire. Numbers are never reused. */
export const renewalStates = {
  /** It is tried again at `nextTry`. */
  scheduled: 0,
  /** The renewal program runs. */
  running: 1,
} as const;

/** The state of a renewal. */
export type RenewalState = keyof typeof renewalStates;

/** A renewal, as `AgentClient.listRenewals` returns it. */
export interface RenewalDescription {
  /** The blob of the plain key. */
  readonly keyBlob: Buffer;
  /**
   * The blob of the certificate that is to be renewed, which the agent may have dropped since it
   * expired; empty for a key that never had one.
   */
  readonly certificate: Buffer;
  readonly state: RenewalState;
  /** When the program was last run for the key, in seconds since 1970; 0 for never. */
  readonly lastTry: bigint;
  /** When it is run next, in seconds since 1970; 0 while it runs. */
  readonly nextTry: bigint;
  /** Why the last try failed, or while one runs the one before; empty if it did not. */
  readonly lastError: string;
}

/** Encodes the body of the reply: a `string` for each renewal. */
export function encodeListRenewalsReply(renewals: readonly RenewalDescription[]): Buffer {
  const writer = new Writer();
  for (const { keyBlob, certificate, state, lastTry, nextTry, lastError } of renewals) {
    const record = new Writer().string(keyBlob).string(certificate).byte(renewalStates[state]);
    writer.string(record.uint64(lastTry).uint64(nextTry).text(lastError).finish());
  }
  return writer.finish();
}

/** Decodes the body of the reply and ignores trailing bytes of a record. @throws {Failure} malformed */
export function decodeListRenewalsReply(body: Uint8Array): RenewalDescription[] {
  return readStrings(body).map((bytes) => {
    const reader = new Reader(bytes);
    const [keyBlob, certificate] = [reader.string(), reader.string()];
    const number = reader.byte();
    const state = nameOfNumber(renewalStates, number);
    if (state === undefined) throw malformed(`Renewal state ${number} is not known.`);
    const [lastTry, nextTry] = [reader.uint64(), reader.uint64()];
    return { keyBlob, certificate, state, lastTry, nextTry, lastError: reader.text() };
  });
}
