/**
 * The messages between the agent and a provider's child process.
 *
 * Each message is a frame (protocol/framing.ts): a uint32 length, a JSON header of that length,
 * then the parts as raw bytes: the data to sign, a PIN, a signature. The header has their lengths.
 * A part never becomes a string, and the receiver overwrites a PIN in its message after use.
 *
 * Both ends are from the same build, so there is no version negotiation. A library may write to the
 * descriptor, so the agent validates every message.
 */

import { keyObjectTypes, type LibraryVersion, type Pkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import {
  type LeftOutObject,
  type ProviderState,
  providerStates,
  type TokenDescription,
} from "../../protocol/extensions/list-providers.ts";
import type { Variable } from "../../protocol/extensions/prepare-provider.ts";
import { Failure, type FailureCode, failureCodes, malformed } from "../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";

/** Maximum message length in bytes: room for an agent message, or an inventory that fills one. */
export const maxMessageLength = 1024 * 1024;

/**
 * The login that a token requires: none, with a PIN, or on the token's own PIN pad
 * (CKF_PROTECTED_AUTHENTICATION_PATH).
 */
export type LoginKind = (typeof loginKinds)[number];

/** All login kinds. */
export const loginKinds = ["none", "pin", "protected-path"] as const;

/** A token found by a library. */
export interface KnownToken {
  readonly description: TokenDescription;
  /** Identifies the token; what it consists of is the child's business. */
  readonly identity: string;
  readonly login: LoginKind;
  /** The token's slot, which distinguishes tokens with the same description. */
  readonly slot: Buffer;
}

/** A key on a token. */
export interface KnownKey {
  /** The plain key blob. */
  readonly keyBlob: Buffer;
  /** CKA_LABEL, or empty. */
  readonly label: string;
  /** CKA_ID, which identifies the private key. */
  readonly id: Buffer;
  /** CKA_ALWAYS_AUTHENTICATE: the token requires its PIN for each signature. */
  readonly alwaysAuthenticate: boolean;
  /** Whether its private key was hidden, or missing, when it was listed. */
  readonly hidden: boolean;
  /** The token's index in the inventory. */
  readonly token: number;
}

/** Something that was found and is not used, without its token. */
export type LeftOut = Omit<LeftOutObject, "token">;

/** An object's name in `LeftOut`, such as `public key "SIGN key", ID 02`. @param label sanitized */
export function objectName(kind: string, label: string, id: Buffer): string {
  const called = label === "" ? kind : `${kind} ${JSON.stringify(label)}`;
  if (id.length === 0) return called;
  const hex = id.toString("hex", 0, maxIdLength);
  return `${called}, ID ${hex}${id.length > maxIdLength ? "…" : ""}`;
}

/** The number of bytes of a CKA_ID in an object's name. */
const maxIdLength = 32;

/** The tokens and keys found when a library was loaded. Requests name both by index. */
export interface Inventory {
  readonly tokens: readonly KnownToken[];
  /** In the order of the tokens, each key blob once. */
  readonly keys: readonly KnownKey[];
  /** In the order of the tokens; shortened if it is long. */
  readonly leftOut: readonly LeftOutObject[];
}

/** The failure of an operation that requires the token's PIN. */
export class PinRequired extends Failure {
  /** Whether one try is left before the token locks itself. */
  readonly isLastTry: boolean;

  /** @param hint as for any failure */
  constructor(sentence: string, hint?: string, isLastTry = false) {
    super("pin-required", sentence, hint);
    this.isLastTry = isLastTry;
  }
}

const refused: ReadonlySet<string> = new Set(["pin-incorrect", "pin-last-try", "pin-locked"]);

/** Whether a token has refused a request's PIN. */
export function isPinRefused(error: unknown): error is Failure {
  return error instanceof Failure && refused.has(error.code);
}

/** The codec of a header field. Decoding validates; decoded parts are views of the message. */
interface Field<Value> {
  encode(value: Value, parts: Buffer[]): unknown;
  /** @throws {Failure} malformed */
  decode(json: unknown, parts: readonly Buffer[]): Value;
}

const text = plain((json): json is string => typeof json === "string");
const flag = plain((json): json is boolean => typeof json === "boolean");
const uint32 = plain((json): json is number => Object.is(json, Number(json) >>> 0));

const bytes: Field<Buffer> = {
  encode: (value) => value.toString("base64"),
  decode(json) {
    const value = Buffer.from(text.decode(json, []), "base64");
    return value.toString("base64") === json ? value : invalid();
  },
};

/** Bytes after the header, which holds their index. */
const part: Field<Buffer> = {
  encode: (value, parts) => parts.push(value) - 1,
  decode: (json, parts) => parts[uint32.decode(json, [])] ?? invalid(),
};

const bigint: Field<bigint> = {
  encode: (value) => value.toString(),
  decode: (json) => (/^\d{1,20}$/.test(text.decode(json, [])) ? BigInt(String(json)) : invalid()),
};

const failure: Field<Failure> = {
  encode(value, parts) {
    const { code, message, hint } = value;
    const isLastTry = value instanceof PinRequired && value.isLastTry;
    return reason.encode({ code, message, hint, isLastTry }, parts);
  },
  decode(json, parts) {
    const { code, message, hint, isLastTry } = reason.decode(json, parts);
    if (code === "pin-required") return new PinRequired(message, hint, isLastTry);
    return new Failure(code, message, hint);
  },
};

const reason = object({
  code: oneOf(Object.keys(failureCodes) as FailureCode[]),
  message: text,
  hint: text,
  isLastTry: flag,
});

const selection = object<Pkcs11Uri>({
  token: optional(text),
  manufacturer: optional(text),
  serial: optional(text),
  model: optional(text),
  libraryManufacturer: optional(text),
  libraryVersion: optional(object<LibraryVersion>({ major: uint32, minor: uint32 })),
  libraryDescription: optional(text),
  object: optional(text),
  type: optional(oneOf(keyObjectTypes)),
  id: optional(bytes),
  slotManufacturer: optional(text),
  slotDescription: optional(text),
  slotId: optional(bigint),
  moduleName: optional(text),
  modulePath: optional(text),
});

const description = object({ label: text, manufacturer: text, model: text, serial: text });
const knownToken = object<KnownToken>({
  description,
  identity: text,
  login: oneOf(loginKinds),
  slot: bytes,
});
const knownKey = object<KnownKey>({
  keyBlob: bytes,
  label: text,
  id: bytes,
  alwaysAuthenticate: flag,
  hidden: flag,
  token: uint32,
});
const knownLeftOut = object<LeftOutObject>({
  object: text,
  reason: text,
  token: optional(uint32),
});
const anyInventory = object<Inventory>({
  tokens: list(knownToken),
  keys: list(knownKey),
  leftOut: list(knownLeftOut),
});
const inventory: Field<Inventory> = {
  encode: anyInventory.encode,
  decode(json, parts) {
    const value = anyInventory.decode(json, parts);
    const isValid = ({ token }: Partial<LeftOutObject>) =>
      token === undefined || token < value.tokens.length;
    return value.keys.every(isValid) && value.leftOut.every(isValid) ? value : invalid();
  },
};

const algorithm = oneOf<SignatureAlgorithm>([
  "ssh-rsa",
  "rsa-sha2-256",
  "rsa-sha2-512",
  "ecdsa-sha2-nistp256",
  "ecdsa-sha2-nistp384",
  "ecdsa-sha2-nistp521",
  "ssh-ed25519",
]);

/** The agent's requests. A PIN is UTF-8, or empty for none. */
const requests = {
  /**
   * Optional, before `load`: load the library at `path` and open a session with each token.
   * `environment` is the client's, to compare.
   */
  open: object({ path: text, environment: list(object<Variable>({ name: text, value: text })) }),
  /**
   * The first request, or the one after `open`: load the library at `path` and log in with `pin`.
   * Tokens and keys that `selection` does not match are ignored, and keys whose fingerprint is not
   * in `only`. PINs are cached for `keepPin`
   * seconds; 0 disables the cache.
   */
  load: object({
    path: text,
    selection: optional(selection),
    only: optional(list(text)),
    keepPin: uint32,
    pin: part,
  }),
  /** Instead of `load`: load the library, with the inventory of an earlier child process. */
  restore: object({ path: text, keepPin: uint32, inventory }),
  /** Sign `data` with the key at this index in the inventory; `pin` is for its token. */
  sign: object({ key: uint32, algorithm, data: part, pin: part }),
  /** Log in to the token at this index in the inventory. */
  login: object({ token: uint32, pin: part }),
  /** Overwrite the cached PINs; there is no reply. */
  forget: object({}),
  state: object({}),
  /** Which of a token's keys, by their index, have no private key after all? */
  missing: object({ token: uint32 }),
  /** Give the tokens back: C_Finalize, if a PIN is cached for the next login. */
  release: object({}),
  /** C_Finalize, then exit; there is no reply. */
  finish: object({}),
};

/** The child process's replies. */
const replies = {
  loaded: object({ inventory }),
  /** A signature blob. */
  signed: object({ signature: part }),
  /** The state of each token of the inventory. */
  state: object({ tokens: list(oneOf(Object.keys(providerStates) as ProviderState[])) }),
  /** Undefined while the token may hide private keys. */
  missing: object({ keys: optional(list(uint32)) }),
  /** Whether a PIN is cached, and the library finalized; otherwise the agent ends the process. */
  released: object({ keepsPin: flag }),
  /** `login`, `open` or `restore` succeeded. */
  done: object({}),
  /** A `PinRequired`, if the PIN would help. */
  failed: object({ failure }),
};

/** The messages of a table: type, ID (a reply has its request's) and fields. */
type Message<Table> = {
  [Type in keyof Table]: { readonly type: Type; readonly id: number } & (Table[Type] extends Field<
    infer Fields
  >
    ? Fields
    : never);
}[keyof Table];

export type ChildRequest = Message<typeof requests>;
export type ChildReply = Message<typeof replies>;

/** The PIN of a request, if it has one; overwrite it after use. */
export function secretOf(request: ChildRequest): Buffer | undefined {
  return "pin" in request && request.pin.length > 0 ? request.pin : undefined;
}

/** Encodes a request. The result contains the request's PIN: overwrite it after use. */
export function encodeRequest(request: ChildRequest): Buffer {
  return encode(requests, request);
}

/** Decodes a request; its data and PIN are views of `message`. @throws {Failure} malformed */
export function decodeRequest(message: Buffer): ChildRequest {
  return decode(requests, message);
}

export function encodeReply(reply: ChildReply): Buffer {
  return encode(replies, reply);
}

/** Decodes a reply; its signature is a view of `message`. @throws {Failure} malformed */
export function decodeReply(message: Buffer): ChildReply {
  return decode(replies, message);
}

type Table = Readonly<Record<string, Field<object>>>;

function encode(table: Table, message: { readonly type: string; readonly id: number }): Buffer {
  const parts: Buffer[] = [];
  const fields = table[message.type]?.encode(message, parts);
  const lengths = parts.map(({ length }) => length);
  const json = JSON.stringify({ type: message.type, id: message.id, parts: lengths, fields });
  const size = Buffer.byteLength(json);
  const encoded = Buffer.allocUnsafe(lengths.reduce((sum, length) => sum + length, 4 + size));
  encoded.writeUInt32BE(size, 0);
  encoded.write(json, 4);
  let at = 4 + size;
  for (const one of parts) at += one.copy(encoded, at);
  return encoded;
}

const header = object({
  type: text,
  id: uint32,
  parts: list(uint32),
  fields: plain((_json): _json is unknown => true),
});

function decode<Known extends Table>(table: Known, message: Buffer): Message<Known> {
  let end = message.length < 4 ? 4 : 4 + message.readUInt32BE(0);
  const { type, id, parts: lengths, fields } = header.decode(parse(message.subarray(4, end)), []);
  const parts = lengths.map((length) => {
    end += length;
    return message.subarray(end - length, end);
  });
  const known = Object.hasOwn(table, type) ? table[type] : undefined;
  if (end !== message.length || known === undefined) return invalid();
  return { type, id, ...known.decode(fields, parts) } as Message<Known>;
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return invalid();
  }
}

/** A value that JSON can hold. */
function plain<Value>(is: (json: unknown) => json is Value): Field<Value> {
  return { encode: (value) => value, decode: (json) => (is(json) ? json : invalid()) };
}

function oneOf<Value extends string>(values: readonly Value[]): Field<Value> {
  const known: ReadonlySet<unknown> = new Set(values);
  return plain((json): json is Value => known.has(json));
}

function optional<Value>(field: Field<Value>): Field<Value | undefined> {
  return {
    encode: (value, parts) => (value === undefined ? undefined : field.encode(value, parts)),
    decode: (json, parts) => (json === undefined ? undefined : field.decode(json, parts)),
  };
}

function list<Value>(item: Field<Value>): Field<readonly Value[]> {
  return {
    encode: (values, parts) => values.map((value) => item.encode(value, parts)),
    decode: (json, parts) =>
      Array.isArray(json) ? json.map((value) => item.decode(value, parts)) : invalid(),
  };
}

function object<Value extends object>(
  fields: {
    readonly [Name in keyof Value]: Field<Value[Name]>;
  },
): Field<Value> {
  const names = Object.keys(fields) as (keyof Value & string)[];
  return {
    // Loops, for speed: each signature passes here four times.
    encode(value, parts) {
      const json: Record<string, unknown> = {};
      for (const name of names) json[name] = fields[name].encode(value[name], parts);
      return json;
    },
    decode(json, parts) {
      if (!isRecord(json)) return invalid();
      const value: Record<string, unknown> = {};
      for (const name of names) value[name] = fields[name].decode(json[name], parts);
      return value as Value; // each name has its field's value
    },
  };
}

function isRecord(json: unknown): json is Readonly<Record<string, unknown>> {
  return typeof json === "object" && json !== null;
}

function invalid(): never {
  throw malformed("Invalid message of the child process.");
}
