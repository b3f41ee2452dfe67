/**
 * What the agent and a provider's child process say to each other.
 *
 * Each message is a frame (protocol/framing.ts) of RFC 4251 types: a byte for its kind, a uint32
 * that ties a reply to its request, then its fields in the order of the types below. Both ends are
 * of one build, so nothing here is ever negotiated.
 */
import {
  type ProviderState,
  providerStates,
  type TokenDescription,
} from "../../protocol/extensions/list-providers.ts";
import { Failure, failureCodeName, failureCodes, malformed } from "../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";
import { Reader, Writer } from "../../protocol/wire.ts";

/** From the agent. */
export type HelperRequest =
  /** The first one: load the library at `path`, log in with `pin` (UTF-8) unless it is empty. */
  | { readonly type: "load"; readonly id: number; readonly path: string; readonly pin: Buffer }
  /** Sign `data` with the key at this place in the list of `loaded`. */
  | {
      readonly type: "sign";
      readonly id: number;
      readonly key: number;
      readonly algorithm: SignatureAlgorithm;
      readonly data: Buffer;
    }
  | { readonly type: "state"; readonly id: number }
  /** C_Finalize, then exit; there is no reply. */
  | { readonly type: "finish"; readonly id: number };

/** From the child process. */
export type HelperReply =
  | {
      readonly type: "loaded";
      readonly id: number;
      readonly tokens: readonly TokenDescription[];
      readonly keys: readonly LoadedKey[];
    }
  /** A signature blob. */
  | { readonly type: "signed"; readonly id: number; readonly signature: Buffer }
  | { readonly type: "state"; readonly id: number; readonly state: ProviderState }
  | { readonly type: "failed"; readonly id: number; readonly failure: Failure };

/** A key as its token has it. */
export interface LoadedKey {
  readonly keyBlob: Buffer;
  /** The label of its object, or empty. */
  readonly label: string;
  /** Whether the PIN was needed to log in to its token. */
  readonly needsPin: boolean;
}

const requestTypes = { load: 1, sign: 2, state: 3, finish: 4 } as const;
const replyTypes = { loaded: 1, signed: 2, state: 3, failed: 4 } as const;

/** Algorithms by their number in these messages. */
const algorithms: readonly SignatureAlgorithm[] = [
  "ssh-rsa",
  "rsa-sha2-256",
  "rsa-sha2-512",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "ssh-ed25519",
];
const states = Object.keys(providerStates) as ProviderState[];

/** Encodes a request. The bytes of `load` hold the PIN: overwrite them after use. */
export function encodeRequest(request: HelperRequest): Buffer {
  switch (request.type) {
    case "load":
      return begin(requestTypes.load, request.id, 64 + 3 * request.path.length + request.pin.length)
        .text(request.path)
        .string(request.pin)
        .finish();
    case "sign":
      return begin(requestTypes.sign, request.id, 16 + request.data.length)
        .uint32(request.key)
        .byte(algorithms.indexOf(request.algorithm))
        .string(request.data)
        .finish();
    case "state":
      return begin(requestTypes.state, request.id).finish();
    case "finish":
      return begin(requestTypes.finish, request.id).finish();
  }
}

/** Decodes a request; buffers in it are views of `bytes`. @throws {Failure} malformed */
export function decodeRequest(bytes: Buffer): HelperRequest {
  const reader = new Reader(bytes);
  const type = reader.byte();
  const id = reader.uint32();
  switch (type) {
    case requestTypes.load:
      return ended(reader, { type: "load", id, path: reader.text(), pin: reader.string() });
    case requestTypes.sign: {
      const key = reader.uint32();
      const algorithm = nth(algorithms, reader.byte());
      return ended(reader, { type: "sign", id, key, algorithm, data: reader.string() });
    }
    case requestTypes.state:
      return ended(reader, { type: "state", id });
    case requestTypes.finish:
      return ended(reader, { type: "finish", id });
    default:
      throw malformed(`The helper's request ${type} is not known.`);
  }
}

/** Encodes a reply. */
export function encodeReply(reply: HelperReply): Buffer {
  switch (reply.type) {
    case "loaded": {
      const writer = begin(replyTypes.loaded, reply.id).uint32(reply.tokens.length);
      for (const { label, manufacturer, model, serial } of reply.tokens) {
        writer.text(label).text(manufacturer).text(model).text(serial);
      }
      for (const { keyBlob, label, needsPin } of reply.keys) {
        writer.string(keyBlob).text(label).bool(needsPin);
      }
      return writer.finish();
    }
    case "signed":
      return begin(replyTypes.signed, reply.id, 16 + reply.signature.length)
        .string(reply.signature)
        .finish();
    case "state":
      return begin(replyTypes.state, reply.id).byte(states.indexOf(reply.state)).finish();
    case "failed": {
      const { code, message, hint } = reply.failure;
      return begin(replyTypes.failed, reply.id)
        .uint32(failureCodes[code])
        .text(message)
        .text(hint)
        .finish();
    }
  }
}

/** Decodes a reply; buffers in it are views of `bytes`. @throws {Failure} malformed */
export function decodeReply(bytes: Buffer): HelperReply {
  const reader = new Reader(bytes);
  const type = reader.byte();
  const id = reader.uint32();
  switch (type) {
    case replyTypes.loaded:
      return { type: "loaded", id, tokens: readTokens(reader), keys: readKeys(reader) };
    case replyTypes.signed:
      return ended(reader, { type: "signed", id, signature: reader.string() });
    case replyTypes.state:
      return ended(reader, { type: "state", id, state: nth(states, reader.byte()) });
    case replyTypes.failed: {
      const code = failureCodeName(reader.uint32()) ?? "internal";
      const sentence = reader.text();
      const failure = new Failure(code, sentence, reader.text());
      return ended(reader, { type: "failed", id, failure });
    }
    default:
      throw malformed(`The helper's reply ${type} is not known.`);
  }
}

function begin(type: number, id: number, capacity = 64): Writer {
  return new Writer(8 + capacity).byte(type).uint32(id);
}

function ended<Message>(reader: Reader, message: Message): Message {
  reader.end();
  return message;
}

function nth<Value>(values: readonly Value[], index: number): Value {
  const value = values[index];
  if (value === undefined) throw malformed("A number in the helper's message is not known.");
  return value;
}

function readTokens(reader: Reader): TokenDescription[] {
  const tokens: TokenDescription[] = [];
  for (let left = reader.uint32(); left > 0; left--) {
    const label = reader.text();
    const manufacturer = reader.text();
    const model = reader.text();
    tokens.push({ label, manufacturer, model, serial: reader.text() });
  }
  return tokens;
}

function readKeys(reader: Reader): LoadedKey[] {
  const keys: LoadedKey[] = [];
  while (reader.remaining > 0) {
    const keyBlob = reader.string();
    const label = reader.text();
    keys.push({ keyBlob, label, needsPin: reader.bool() });
  }
  return keys;
}
