/**
 * What the rest of the agent knows of a PKCS#11 library: its tokens, its keys, and that it signs.
 *
 * A library is loaded in a child process of its own (helper.ts), so none of these methods blocks,
 * and a crash in the library is an ordinary failure here.
 */
import type { ProviderState, TokenDescription } from "../../protocol/extensions/list-providers.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";

/** A key on a token. */
export interface CardKey {
  /** The plain key blob (RFC 4253 section 6.6, RFC 5656, RFC 8709). */
  readonly keyBlob: Buffer;
  /** The object's label, or the path of the library when it has none. */
  readonly comment: string;
}

/** A loaded PKCS#11 library. */
export interface Provider {
  /** The canonical path, without symbolic links. */
  readonly path: string;
  /** The path as it was given. */
  readonly requested: string;
  readonly tokens: readonly TokenDescription[];
  /** In the tokens' order, each key blob once. */
  readonly keys: readonly CardKey[];

  /** What the provider can do now. It asks the library, with a short limit, and never throws. */
  state(): Promise<ProviderState>;

  /**
   * Signs with a key of this provider.
   * @param keyBlob the plain key blob
   * @param data what is signed, not hashed; it must not change meanwhile
   * @returns the signature blob
   * @throws {Failure} key-not-found, pin-required, token-removed, module-crashed, module-timeout,
   *   unsupported
   */
  sign(keyBlob: Buffer, algorithm: SignatureAlgorithm, data: Buffer): Promise<Buffer>;

  /** Ends the library's process: with C_Finalize if that takes a moment, else without. */
  close(): Promise<void>;
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
  /** One signature, from its request on: a touch or a PIN pad may be part of it. */
  readonly sign: number;
  /** The answer to `state`; a library that takes longer counts as failed, but is left alone. */
  readonly status: number;
  /** C_Finalize and the end of the process. */
  readonly close: number;
}

/** The limits that hold unless others are given. */
export const defaultLimits: ProviderLimits = {
  load: 30_000,
  sign: 60_000,
  status: 2_000,
  close: 1_000,
};
