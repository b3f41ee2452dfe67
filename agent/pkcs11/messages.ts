/**
 * What the agent and a provider's child process say to each other.
 *
 * Each message is a frame (protocol/framing.ts) of RFC 4251 types: a byte for its kind, a uint32
 * that ties a reply to its request, then its fields in the order of the types below. Both ends are
 * of one build, so nothing here is ever negotiated.
 */
import { type ProviderState, providerStates } from "../../protocol/extensions/list-providers.ts";
import { Failure, failureCodeName, failureCodes, malformed } from "../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";
import { Reader, Writer } from "../../protocol/wire.ts";
import { type Inventory, readInventory, writeInventory } from "./inventory.ts";

/** From the agent. A PIN is UTF-8, and empty for none. */
export type HelperRequest =
  /** Get ready to load the library at `path`: start it, and have it read what it reads of cards. */
  | { readonly type: "open"; readonly id: number; readonly path: string }
  /**
   * The first one, or after `open`: load the library at `path` and log in with `pin`. What does not match the
   * PKCS#11 URI `selection` is left alone; an empty one matches all. PINs are kept for `keepPin`
   * seconds; 0 for not at all.
   */
  | {
      readonly type: "load";
      readonly id: number;
      readonly path: string;
      readonly selection: string;
      readonly keepPin: number;
      readonly pin: Buffer;
    }
  /** Or the first one: load the library, and take for granted what it showed another process. */
  | {
      readonly type: "restore";
      readonly id: number;
      readonly path: string;
      readonly keepPin: number;
      readonly inventory: Inventory;
    }
  /** Sign `data` with the key at this place in the inventory; `pin` is for its token. */
  | {
      readonly type: "sign";
      readonly id: number;
      readonly key: number;
      readonly algorithm: SignatureAlgorithm;
      readonly data: Buffer;
      readonly pin: Buffer;
    }
  /** Log in to the token at this place in the inventory. */
  | {
      readonly type: "login";
      readonly id: number;
      readonly token: number;
      readonly pin: Buffer;
    }
  /** Forget the PINs that are kept; there is no reply. */
  | { readonly type: "forget"; readonly id: number }
  | { readonly type: "state"; readonly id: number }
  /** C_Finalize, then exit; there is no reply. */
  | { readonly type: "finish"; readonly id: number };

/** From the child process. */
export type HelperReply =
  | { readonly type: "loaded"; readonly id: number; readonly inventory: Inventory }
  /** A signature blob. */
  | { readonly type: "signed"; readonly id: number; readonly signature: Buffer }
  /** What each token of the inventory can do. */
  | { readonly type: "state"; readonly id: number; readonly tokens: readonly ProviderState[] }
  /** The token was logged in to, or the library opened or restored. */
  | { readonly type: "done"; readonly id: number }
  | { readonly type: "failed"; readonly id: number; readonly failure: Failure };

const requestTypes = {
  load: 1,
  sign: 2,
  state: 3,
  finish: 4,
  restore: 5,
  login: 6,
  forget: 7,
  open: 8,
} as const;
const replyTypes = { loaded: 1, signed: 2, state: 3, failed: 4, done: 5 } as const;

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

/** The PIN that a request holds, if it does; its bytes are to be overwritten after use. */
export function secretOf(request: HelperRequest): Buffer | undefined {
  return "pin" in request && request.pin.length > 0 ? request.pin : undefined;
}

/** Encodes a request. The bytes of one with a PIN hold it: overwrite them after use. */
export function encodeRequest(request: HelperRequest): Buffer {
  const { id } = request;
  const type = requestTypes[request.type];
  switch (request.type) {
    case "open":
      return begin(type, id).text(request.path).finish();
    case "load": {
      const texts = 3 * (request.path.length + request.selection.length);
      return begin(type, id, 64 + texts + request.pin.length)
        .text(request.path)
        .text(request.selection)
        .uint32(request.keepPin)
        .string(request.pin)
        .finish();
    }
    case "restore": {
      const writer = begin(type, id).text(request.path).uint32(request.keepPin);
      return writeInventory(writer, request.inventory).finish();
    }
    case "sign":
      return begin(type, id, 24 + request.data.length + request.pin.length)
        .uint32(request.key)
        .byte(algorithms.indexOf(request.algorithm))
        .string(request.data)
        .string(request.pin)
        .finish();
    case "login":
      return begin(type, id, 16 + request.pin.length)
        .uint32(request.token)
        .string(request.pin)
        .finish();
    case "forget":
    case "state":
    case "finish":
      return begin(type, id).finish();
  }
}

/** Decodes a request; buffers in it are views of `bytes`. @throws {Failure} malformed */
export function decodeRequest(bytes: Buffer): HelperRequest {
  const reader = new Reader(bytes);
  const type = reader.byte();
  const id = reader.uint32();
  switch (type) {
    case requestTypes.open:
      return ended(reader, { type: "open", id, path: reader.text() });
    case requestTypes.load: {
      const [path, selection] = [reader.text(), reader.text()];
      const keepPin = reader.uint32();
      return ended(reader, { type: "load", id, path, selection, keepPin, pin: reader.string() });
    }
    case requestTypes.restore: {
      const path = reader.text();
      const keepPin = reader.uint32();
      return { type: "restore", id, path, keepPin, inventory: readInventory(reader) };
    }
    case requestTypes.sign: {
      const key = reader.uint32();
      const algorithm = nth(algorithms, reader.byte());
      const data = reader.string();
      return ended(reader, { type: "sign", id, key, algorithm, data, pin: reader.string() });
    }
    case requestTypes.login:
      return ended(reader, { type: "login", id, token: reader.uint32(), pin: reader.string() });
    case requestTypes.forget:
      return ended(reader, { type: "forget", id });
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
  const writer = begin(replyTypes[reply.type], reply.id);
  switch (reply.type) {
    case "loaded":
      return writeInventory(writer, reply.inventory).finish();
    case "signed":
      return writer.string(reply.signature).finish();
    case "state":
      for (const state of reply.tokens) writer.byte(states.indexOf(state));
      return writer.finish();
    case "done":
      return writer.finish();
    case "failed": {
      const { code, message, hint } = reply.failure;
      return writer.uint32(failureCodes[code]).text(message).text(hint).finish();
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
      return { type: "loaded", id, inventory: readInventory(reader) };
    case replyTypes.signed:
      return ended(reader, { type: "signed", id, signature: reader.string() });
    case replyTypes.state: {
      const tokens: ProviderState[] = [];
      while (reader.remaining > 0) tokens.push(nth(states, reader.byte()));
      return { type: "state", id, tokens };
    }
    case replyTypes.done:
      return ended(reader, { type: "done", id });
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
