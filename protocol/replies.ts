/** Replies of the agent protocol (RFC 9987, section 3). */
import { malformed } from "./failure.ts";
import { finishFrame, frameWriter, lengthSize } from "./framing.ts";
import { replyNumbers } from "./numbers.ts";
import { Reader } from "./wire.ts";

/** A key or certificate that an agent lists; `verifyKeyOrCertificate` decodes the blob. */
export interface Identity {
  /** A plain key's blob or a certificate's. */
  readonly keyBlob: Buffer;
  readonly comment: string;
}

/** A reply of an agent, as `AgentClient.request` returns it. */
export type Reply =
  | { readonly type: "success" }
  | { readonly type: "failure" }
  | { readonly type: "extension-failure" }
  | { readonly type: "identities"; readonly identities: readonly Identity[] }
  /** A signature blob. */
  | { readonly type: "signature"; readonly signature: Buffer }
  | {
      readonly type: "extension-response";
      readonly name: string;
      /** The extension's own data, which follows the name. */
      readonly body: Buffer;
    }
  /** Protocol 1: an empty list. */
  | { readonly type: "rsa-identities" };

/**
 * Decodes a reply.
 * @param message a message without its length field
 * @throws {Failure} malformed
 */
export function decodeReply(message: Uint8Array): Reply {
  const reader = new Reader(message);
  const reply = readReply(reader, reader.byte());
  reader.end();
  return reply;
}

function readReply(reader: Reader, number: number): Reply {
  switch (number) {
    case replyNumbers.success:
      return { type: "success" };
    case replyNumbers.failure:
      return { type: "failure" };
    case replyNumbers.extensionFailure:
      return { type: "extension-failure" };
    case replyNumbers.identities:
      return { type: "identities", identities: readIdentities(reader) };
    case replyNumbers.signature:
      return { type: "signature", signature: reader.string() };
    case replyNumbers.extensionResponse: {
      const name = reader.name();
      return { type: "extension-response", name, body: reader.rest() };
    }
    case replyNumbers.rsaIdentities:
      if (reader.uint32() !== 0) throw malformed("A list of protocol 1 keys is not empty.");
      return { type: "rsa-identities" };
    default:
      throw malformed(`Reply number ${number} is not known.`);
  }
}

function readIdentities(reader: Reader): Identity[] {
  const count = reader.uint32();
  if (count > reader.remaining / 8) throw malformed("A list of identities ends too early.");
  const identities: Identity[] = [];
  for (let index = 0; index < count; index++) {
    const keyBlob = reader.string();
    identities.push({ keyBlob, comment: reader.text() });
  }
  return identities;
}

/** Encodes a reply without its length field; the inverse of `decodeReply`. */
export function encodeReply(reply: Reply): Buffer {
  return frameReply(reply).subarray(lengthSize);
}

/** Encodes a reply with its length field, ready for the socket. */
export function frameReply(reply: Reply): Buffer {
  switch (reply.type) {
    case "success":
      return finishFrame(frameWriter(1).byte(replyNumbers.success));
    case "failure":
      return finishFrame(frameWriter(1).byte(replyNumbers.failure));
    case "extension-failure":
      return finishFrame(frameWriter(1).byte(replyNumbers.extensionFailure));
    case "identities": {
      const { identities } = reply;
      const writer = frameWriter(64 + identities.length * 128).byte(replyNumbers.identities);
      writer.uint32(identities.length);
      for (const { keyBlob, comment } of identities) writer.string(keyBlob).text(comment);
      return finishFrame(writer);
    }
    case "signature": {
      const writer = frameWriter(5 + reply.signature.length).byte(replyNumbers.signature);
      return finishFrame(writer.string(reply.signature));
    }
    case "extension-response": {
      const writer = frameWriter(64 + reply.body.length).byte(replyNumbers.extensionResponse);
      return finishFrame(writer.text(reply.name).bytes(reply.body));
    }
    case "rsa-identities":
      return finishFrame(frameWriter(5).byte(replyNumbers.rsaIdentities).uint32(0));
  }
}
