/**
 * What the agent and a provider's child process say to each other.
 *
 * Each message is a frame (protocol/framing.ts): a uint32, that many bytes of JSON, which are its
 * header, then its parts as they are: the data to sign, a PIN, a signature. The header has their
 * lengths. No part ever becomes a string, and whoever has used a PIN overwrites it in its message.
 *
 * Both ends are of one build, so nothing is negotiated. But a library may write to the descriptor,
 * so the agent believes nothing that it has not checked.
 */

import { keyObjectTypes, type Pkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import { type ProviderState, providerStates } from "../../protocol/extensions/list-providers.ts";
import { Failure, type FailureCode, failureCodes, malformed } from "../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";
import { type Inventory, type KnownKey, type KnownToken, loginKinds } from "./inventory.ts";

/** Bytes of a message: those of the agent protocol fit, and lists of keys that fill one. */
export const maxMessageLength = 1024 * 1024;

/** From the agent. A PIN is UTF-8, and empty for none. */
export type ChildRequest =
  /** Get ready to load the library at `path`: start it, and have it read what it reads of cards. */
  | { readonly type: "open"; readonly id: number; readonly path: string }
  /**
   * The first one, or after `open`: load the library at `path` and log in with `pin`. Tokens and keys
   * that `selection` does not match are left alone. PINs are kept for `keepPin` seconds; 0 for not at
   * all.
   */
  | {
      readonly type: "load";
      readonly id: number;
      readonly path: string;
      readonly selection: Pkcs11Uri | undefined;
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
export type ChildReply =
  | { readonly type: "loaded"; readonly id: number; readonly inventory: Inventory }
  /** A signature blob. */
  | { readonly type: "signed"; readonly id: number; readonly signature: Buffer }
  /** What each token of the inventory can do. */
  | { readonly type: "state"; readonly id: number; readonly tokens: readonly ProviderState[] }
  /** The token was logged in to, or the library opened or restored. */
  | { readonly type: "done"; readonly id: number }
  /** A `PinRequired`, when the PIN would help. */
  | { readonly type: "failed"; readonly id: number; readonly failure: Failure };

/** The failure of what a token does only after it was given its PIN. */
export class PinRequired extends Failure {
  /** Whether one try is left before the token locks itself. */
  readonly isLastTry: boolean;

  /** @param hint as for any failure */
  constructor(sentence: string, hint?: string, isLastTry = false) {
    super("pin-required", sentence, hint);
    this.isLastTry = isLastTry;
  }
}

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
const codes = Object.keys(failureCodes) as FailureCode[];

/** The PIN that a request holds, if it does; its bytes are to be overwritten after use. */
export function secretOf(request: ChildRequest): Buffer | undefined {
  return "pin" in request && request.pin.length > 0 ? request.pin : undefined;
}

/** Encodes a request. The bytes of one with a PIN hold it: overwrite them after use. */
export function encodeRequest(request: ChildRequest): Buffer {
  switch (request.type) {
    case "load": {
      const { pin, selection, ...header } = request;
      return encode({ ...header, selection: selection && selectionHeader(selection) }, pin);
    }
    case "sign": {
      const { data, pin, ...header } = request;
      return encode(header, data, pin);
    }
    case "login": {
      const { pin, ...header } = request;
      return encode(header, pin);
    }
    case "restore":
      return encode({ ...request, inventory: inventoryHeader(request.inventory) });
    case "open":
    case "forget":
    case "state":
    case "finish":
      return encode(request);
  }
}

/** Decodes a request; buffers in it are views of `bytes`. @throws {Failure} malformed */
export function decodeRequest(bytes: Buffer): ChildRequest {
  const [header, parts] = decode(bytes);
  const id = header.uint32("id");
  const type = header.text("type");
  switch (type) {
    case "open":
      return { type, id, path: header.text("path") };
    case "load": {
      const [path, keepPin] = [header.text("path"), header.uint32("keepPin")];
      const selection = header.has("selection")
        ? readSelection(header.object("selection"))
        : undefined;
      return { type, id, path, selection, keepPin, pin: part(parts, 0) };
    }
    case "restore": {
      const [path, keepPin] = [header.text("path"), header.uint32("keepPin")];
      return { type, id, path, keepPin, inventory: readInventory(header.object("inventory")) };
    }
    case "sign": {
      const [key, algorithm] = [header.uint32("key"), header.oneOf("algorithm", algorithms)];
      return { type, id, key, algorithm, data: part(parts, 0), pin: part(parts, 1) };
    }
    case "login":
      return { type, id, token: header.uint32("token"), pin: part(parts, 0) };
    case "forget":
    case "state":
    case "finish":
      return { type, id };
    default:
      throw malformed("The type of a request to the child process is not known.");
  }
}

/** Encodes a reply. */
export function encodeReply(reply: ChildReply): Buffer {
  const { type, id } = reply;
  switch (reply.type) {
    case "loaded":
      return encode({ type, id, inventory: inventoryHeader(reply.inventory) });
    case "signed":
      return encode({ type, id }, reply.signature);
    case "state":
    case "done":
      return encode(reply);
    case "failed": {
      const { code, message, hint } = reply.failure;
      const isLastTry = reply.failure instanceof PinRequired && reply.failure.isLastTry;
      return encode({ type, id, code, message, hint, isLastTry });
    }
  }
}

/** Decodes a reply; buffers in it are views of `bytes`. @throws {Failure} malformed */
export function decodeReply(bytes: Buffer): ChildReply {
  const [header, parts] = decode(bytes);
  const id = header.uint32("id");
  const type = header.text("type");
  switch (type) {
    case "loaded":
      return { type, id, inventory: readInventory(header.object("inventory")) };
    case "signed":
      return { type, id, signature: part(parts, 0) };
    case "state":
      return { type, id, tokens: header.list("tokens", states) };
    case "done":
      return { type, id };
    case "failed": {
      const [code, sentence] = [header.oneOf("code", codes), header.text("message")];
      const [hint, isLastTry] = [header.text("hint"), header.flag("isLastTry")];
      const failure =
        code === "pin-required"
          ? new PinRequired(sentence, hint, isLastTry)
          : new Failure(code, sentence, hint);
      return { type, id, failure };
    }
    default:
      throw malformed("The type of a reply of the child process is not known.");
  }
}

function inventoryHeader({ tokens, keys }: Inventory): object {
  return {
    tokens: tokens.map(({ slot, ...rest }) => ({ ...rest, slot: slot.toString("hex") })),
    keys: keys.map(({ keyBlob, id, ...rest }) => {
      return { ...rest, keyBlob: keyBlob.toString("base64"), id: id.toString("hex") };
    }),
  };
}

function readInventory(header: Header): Inventory {
  const tokens = header.objects("tokens").map((token): KnownToken => {
    const description = token.object("description");
    return {
      description: {
        label: description.text("label"),
        manufacturer: description.text("manufacturer"),
        model: description.text("model"),
        serial: description.text("serial"),
      },
      login: token.oneOf("login", loginKinds),
      slot: token.bytes("slot", "hex"),
    };
  });
  const keys = header.objects("keys").map((key): KnownKey => {
    const token = key.uint32("token");
    if (token >= tokens.length) throw malformed("A key is on no token.");
    return {
      keyBlob: key.bytes("keyBlob", "base64"),
      label: key.text("label"),
      id: key.bytes("id", "hex"),
      alwaysAuthenticate: key.flag("alwaysAuthenticate"),
      token,
    };
  });
  return { tokens, keys };
}

function selectionHeader(uri: Pkcs11Uri): object {
  return { ...uri, id: uri.id?.toString("hex"), slotId: uri.slotId?.toString() };
}

function readSelection(header: Header): Pkcs11Uri {
  const text = (name: string) => (header.has(name) ? header.text(name) : undefined);
  const slotId = text("slotId");
  const version = header.has("libraryVersion") ? header.object("libraryVersion") : undefined;
  return {
    token: text("token"),
    manufacturer: text("manufacturer"),
    serial: text("serial"),
    model: text("model"),
    libraryManufacturer: text("libraryManufacturer"),
    libraryVersion: version && { major: version.uint32("major"), minor: version.uint32("minor") },
    libraryDescription: text("libraryDescription"),
    object: text("object"),
    type: header.has("type") ? header.oneOf("type", keyObjectTypes) : undefined,
    id: header.has("id") ? header.bytes("id", "hex") : undefined,
    slotManufacturer: text("slotManufacturer"),
    slotDescription: text("slotDescription"),
    slotId: slotId === undefined ? undefined : readSlotId(slotId),
    moduleName: text("moduleName"),
    modulePath: text("modulePath"),
  };
}

function readSlotId(text: string): bigint {
  if (/^\d{1,20}$/.test(text)) return BigInt(text);
  throw malformed("Invalid slot ID in a message of the child process.");
}

/** @param header without buffers */
function encode(header: object, ...parts: readonly Buffer[]): Buffer {
  const lengths = parts.map(({ length }) => length);
  const json = JSON.stringify({ ...header, parts: lengths });
  const size = Buffer.byteLength(json);
  const message = Buffer.allocUnsafeSlow(lengths.reduce((sum, length) => sum + length, 4 + size));
  message.writeUInt32BE(size, 0);
  message.write(json, 4);
  let at = 4 + size;
  for (const bytes of parts) at += bytes.copy(message, at);
  return message;
}

function decode(bytes: Buffer): [Header, Buffer[]] {
  if (bytes.length < 4) throw malformed("A message of the child process is too short.");
  const size = bytes.readUInt32BE(0);
  if (size > bytes.length - 4) throw malformed("The header of a message is too long.");
  const header = Header.parse(bytes.toString("utf8", 4, 4 + size));
  let at = 4 + size;
  const parts = header.lengths("parts").map((length) => {
    at += length;
    return bytes.subarray(at - length, at);
  });
  if (at !== bytes.length) throw malformed("The parts of a message do not fill it.");
  return [header, parts];
}

function part(parts: readonly Buffer[], index: number): Buffer {
  const bytes = parts[index];
  if (bytes === undefined) throw malformed("A message of the child process lacks a part.");
  return bytes;
}

/** An object in JSON whose fields are checked as they are read. */
class Header {
  readonly #fields: Readonly<Record<string, unknown>>;

  /** @throws {Failure} malformed, as all of its methods, when the value is of another type */
  constructor(value: unknown) {
    if (!isRecord(value)) throw malformed("A message of the child process has no object.");
    this.#fields = value;
  }

  static parse(json: string): Header {
    let value: unknown;
    try {
      value = JSON.parse(json);
    } catch {
      throw malformed("The header of a message is not JSON.");
    }
    return new Header(value);
  }

  has(name: string): boolean {
    return this.#fields[name] !== undefined;
  }

  text(name: string): string {
    const value = this.#fields[name];
    if (typeof value !== "string") throw invalid(name);
    return value;
  }

  flag(name: string): boolean {
    const value = this.#fields[name];
    if (typeof value !== "boolean") throw invalid(name);
    return value;
  }

  uint32(name: string): number {
    return uint32(this.#fields[name], name);
  }

  /** @param encoding that the bytes are written in; any other spelling of them is refused */
  bytes(name: string, encoding: "hex" | "base64"): Buffer {
    const text = this.text(name);
    const bytes = Buffer.from(text, encoding);
    if (bytes.toString(encoding) !== text) throw invalid(name);
    return bytes;
  }

  oneOf<Value extends string>(name: string, values: readonly Value[]): Value {
    return oneOf(this.#fields[name], values, name);
  }

  list<Value extends string>(name: string, values: readonly Value[]): Value[] {
    return this.#array(name).map((value) => oneOf(value, values, name));
  }

  lengths(name: string): number[] {
    return this.#array(name).map((value) => uint32(value, name));
  }

  object(name: string): Header {
    return new Header(this.#fields[name]);
  }

  objects(name: string): Header[] {
    return this.#array(name).map((value) => new Header(value));
  }

  #array(name: string): readonly unknown[] {
    const value: unknown = this.#fields[name];
    if (!Array.isArray(value)) throw invalid(name);
    return value;
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function uint32(value: unknown, name: string): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 0xffffffff) {
    return value >>> 0; // -0 is 0
  }
  throw invalid(name);
}

function oneOf<Value extends string>(
  value: unknown,
  values: readonly Value[],
  name: string,
): Value {
  const found = values.find((candidate) => candidate === value);
  if (found === undefined) throw invalid(name);
  return found;
}

function invalid(name: string): Failure {
  return malformed(`Invalid ${name} in a message of the child process.`);
}
