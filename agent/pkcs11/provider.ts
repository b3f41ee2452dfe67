/**
 * What the rest of the agent knows of a PKCS#11 library: its tokens, its keys, and that it signs.
 *
 * A library is loaded in a child process of its own (helper.ts), so none of these methods blocks,
 * and a crash in the library is an ordinary failure here.
 */
import type { ProviderState, TokenDescription } from "../../protocol/extensions/list-providers.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";
import type { UserInteraction } from "../signer.ts";

/** A key on a token. */
export interface CardKey {
  /** The plain key blob (RFC 4253 section 6.6, RFC 5656, RFC 8709). */
  readonly keyBlob: Buffer;
  /** The object's label, or the path of the library when it has none. */
  readonly comment: string;
  /** CKA_ID and CKA_LABEL, as a PKCS#11 URI has them. */
  readonly id: Buffer;
  readonly label: string;
  readonly token: TokenDescription;
}

/** What a provider and its tokens can do now. */
export interface ProviderStatus {
  readonly state: ProviderState;
  /** In the order of the tokens. */
  readonly tokens: readonly ProviderState[];
}

/** A loaded PKCS#11 library, or what a PKCS#11 URI chose of it. */
export interface Provider {
  /** What it goes by: the canonical path of the library, or the canonical URI. */
  readonly path: string;
  /** The path or the URI as it was given. */
  readonly requested: string;
  /** The canonical path of the library, without symbolic links. */
  readonly library: string;
  readonly tokens: readonly TokenDescription[];
  /** In the tokens' order, each key blob once. */
  readonly keys: readonly CardKey[];

  /** Whether it has a key. @param keyBlob the plain key blob */
  has(keyBlob: Buffer): boolean;

  /** Whether the token of a key is given its PIN, rather than to ask for it by itself. */
  takesPin(keyBlob: Buffer): boolean;

  /** What the provider can do now. It asks the library, with a short limit, and never throws. */
  status(): Promise<ProviderStatus>;

  /**
   * Signs with a key of this provider.
   * @param keyBlob the plain key blob
   * @param data what is signed, not hashed; it must not change meanwhile
   * @param interaction who is asked for a PIN, once, if that is needed, and told of a token that waits
   * @returns the signature blob
   * @throws {Failure} key-not-found, pin-required, pin-incorrect, pin-last-try, pin-locked,
   *   token-removed, module-crashed, module-timeout, user-refused, unsupported
   */
  sign(
    keyBlob: Buffer,
    algorithm: SignatureAlgorithm,
    data: Buffer,
    interaction: UserInteraction,
  ): Promise<Buffer>;

  /** Overwrites the PINs that are kept for reconnecting. */
  forgetPins(): void;

  /** Ends the library's process: with C_Finalize if that takes a moment, else without. */
  close(): Promise<void>;

  /**
   * Ends the library's process without C_Finalize, with which some libraries reset the card: the
   * process that takes its place has logged in to that by now.
   */
  closeWithoutFinalize(): Promise<void>;
}

/** How the child process of a provider is started. */
export interface HelperCommand {
  readonly file: string;
  readonly args: readonly string[];
}

/** How long a library may take, in milliseconds. Its process is killed when it takes longer. */
export interface ProviderLimits {
  /** Loading the library, login and finding its keys. */
  readonly load: number;
  /** One signature, from its turn at the token on: a touch or a PIN pad may be part of it. */
  readonly sign: number;
  /** The answer to `status`; a library that takes longer counts as failed, but is left alone. */
  readonly status: number;
  /** C_Finalize and the end of the process. */
  readonly close: number;
  /** A signature that takes longer is told of. */
  readonly notice: number;
}

/** The limits that hold unless others are given. */
export const defaultLimits: ProviderLimits = {
  load: 30_000,
  sign: 60_000,
  status: 2_000,
  close: 1_000,
  notice: 500,
};
