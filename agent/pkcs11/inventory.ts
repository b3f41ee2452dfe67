/** What a library has shown: its tokens, and their keys. */
import type { TokenDescription } from "../../protocol/extensions/list-providers.ts";
import { malformed } from "../../protocol/failure.ts";
import type { Reader, Writer } from "../../protocol/wire.ts";

/**
 * How a token lets its keys be used: as they are, after a login with the PIN, or after a login on
 * the token's own PIN pad.
 */
export type LoginKind = "none" | "pin" | "pad";

const loginKinds: readonly LoginKind[] = ["none", "pin", "pad"];

/** A token that was found. */
export interface KnownToken {
  readonly description: TokenDescription;
  readonly login: LoginKind;
  /** The slot that it was found in, which tells tokens of the same description apart. */
  readonly slot: Buffer;
}

/** A key as its token has it. */
export interface KnownKey {
  /** The plain key blob. */
  readonly keyBlob: Buffer;
  /** The label of its object, or empty. */
  readonly label: string;
  /** CKA_ID, by which the private key is found again. */
  readonly id: Buffer;
  /** CKA_ALWAYS_AUTHENTICATE: the token wants its PIN for each signature. */
  readonly alwaysAuthenticate: boolean;
  /** The token's place in the list of tokens. */
  readonly token: number;
}

/** All that was found when a library was loaded. Keys go by their place in the list. */
export interface Inventory {
  readonly tokens: readonly KnownToken[];
  /** In the tokens' order, each key blob once. */
  readonly keys: readonly KnownKey[];
}

/** Writes an inventory; it ends the message. */
export function writeInventory(writer: Writer, { tokens, keys }: Inventory): Writer {
  writer.uint32(tokens.length);
  for (const { description, login, slot } of tokens) {
    const { label, manufacturer, model, serial } = description;
    writer.text(label).text(manufacturer).text(model).text(serial);
    writer.byte(loginKinds.indexOf(login)).string(slot);
  }
  for (const { keyBlob, label, id, alwaysAuthenticate, token } of keys) {
    writer.string(keyBlob).text(label).string(id).bool(alwaysAuthenticate).uint32(token);
  }
  return writer;
}

/** Reads an inventory up to the end of the message. @throws {Failure} malformed */
export function readInventory(reader: Reader): Inventory {
  const tokens: KnownToken[] = [];
  for (let left = reader.uint32(); left > 0; left--) {
    const label = reader.text();
    const manufacturer = reader.text();
    const model = reader.text();
    const description = { label, manufacturer, model, serial: reader.text() };
    const login = loginKinds[reader.byte()];
    if (login === undefined) throw malformed("A token's kind of login is not known.");
    tokens.push({ description, login, slot: reader.string() });
  }
  const keys: KnownKey[] = [];
  while (reader.remaining > 0) {
    const keyBlob = reader.string();
    const label = reader.cString();
    const id = reader.string();
    const alwaysAuthenticate = reader.bool();
    const token = reader.uint32();
    if (token >= tokens.length) throw malformed("A key is on no token.");
    keys.push({ keyBlob, label, id, alwaysAuthenticate, token });
  }
  return { tokens, keys };
}
