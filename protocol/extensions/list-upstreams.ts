/** `list-upstreams@cardagent.alt`: the agents behind this one. The request has no body. */
import { malformed } from "../failure.ts";
import { nameOfNumber } from "../numbers.ts";
import { Reader, readStrings, Writer } from "../wire.ts";

/** The states of an upstream agent and their numbers on the wire. Numbers are never reused. */
export const upstreamStates = {
  ready: 0,
  /** Nobody listens at its socket. */
  gone: 1,
  /** It did not answer in time. */
  slow: 2,
  /** It does not follow RFC 9987. */
  invalid: 3,
  /** It is not used: it belongs to another user, or this agent is one of its own upstreams. */
  refused: 4,
} as const;

/** The state of an upstream agent. */
export type UpstreamState = keyof typeof upstreamStates;

/** An upstream agent, as `AgentClient.listUpstreams` returns it. */
export interface UpstreamDescription {
  /** The path of its socket. */
  readonly path: string;
  readonly state: UpstreamState;
  /** The name of its process, such as `gpg-agent`; empty if unknown. */
  readonly name: string;
  /** The blobs that it lists on this connection. */
  readonly identities: readonly Buffer[];
}

/** Encodes the body of the reply: a `string` for each upstream, in their order. */
export function encodeListUpstreamsReply(upstreams: readonly UpstreamDescription[]): Buffer {
  const writer = new Writer();
  for (const { path, state, name, identities } of upstreams) {
    const blobs = new Writer();
    for (const blob of identities) blobs.string(blob);
    const record = new Writer().text(path).byte(upstreamStates[state]).text(name);
    writer.string(record.string(blobs.finish()).finish());
  }
  return writer.finish();
}

/** Decodes the body of the reply and ignores trailing bytes of a record. @throws {Failure} malformed */
export function decodeListUpstreamsReply(body: Uint8Array): UpstreamDescription[] {
  return readStrings(body).map((record) => {
    const reader = new Reader(record);
    const path = reader.text();
    const number = reader.byte();
    const state = nameOfNumber(upstreamStates, number);
    if (state === undefined) throw malformed(`Upstream state ${number} is not known.`);
    return { path, state, name: reader.text(), identities: readStrings(reader.string()) };
  });
}
