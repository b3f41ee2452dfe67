/** `query`: the extensions that an agent supports (RFC 9987, section 3.8.1). The request has no body. */
import { Reader, Writer } from "../wire.ts";

/** Encodes the body of the reply: the names of the extensions. */
export function encodeQueryReply(names: readonly string[]): Buffer {
  const writer = new Writer();
  for (const name of names) writer.text(name);
  return writer.finish();
}

/** Decodes the body of the reply. @throws {Failure} malformed */
export function decodeQueryReply(body: Uint8Array): string[] {
  const reader = new Reader(body);
  const names: string[] = [];
  while (reader.remaining > 0) names.push(reader.name());
  return names;
}
