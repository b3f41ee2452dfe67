/** What a library has shown: its tokens, and their keys. */
import type { TokenDescription } from "../../protocol/extensions/list-providers.ts";

/**
 * How a token lets its keys be used: as they are, after a login with the PIN, or after a login at the
 * token's own PIN pad (CKF_PROTECTED_AUTHENTICATION_PATH).
 */
export type LoginKind = (typeof loginKinds)[number];

/** All of them. */
export const loginKinds = ["none", "pin", "protected-path"] as const;

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
