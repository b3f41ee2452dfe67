/** Signers: private keys in memory, on a token, on a FIDO authenticator or in another agent. */
import type { PinPromptBackoff } from "./pkcs11/pin-prompt.ts";
import type { ClientUpstreams } from "./upstream/upstreams.ts";

/** A signature that a client asks for (RFC 9987, section 3.6). */
export interface SignRequest {
  /** The blob by which the client names the identity: the plain key's or a certificate's. */
  readonly keyBlob: Buffer;
  /** The data to sign, not hashed. It must not change until the signature is made. */
  readonly data: Buffer;
  /** As in `signatureFlags`. */
  readonly flags: number;
}

/** Signs with one private key. */
export interface Signer {
  /**
   * @param interaction for PIN prompts and notices
   * @returns the signature blob; not a promise if it takes only microseconds
   * @throws {Failure}
   */
  sign(request: SignRequest, interaction: UserInteraction): Buffer | Promise<Buffer>;

  /** Discards the private key; `sign` must not be called after this. */
  forget?(): void;
}

/** The client and the user that one signature is for. */
export interface UserInteraction {
  /** Aborted, with a `Failure`, when the client has gone; prompts are then cancelled. */
  readonly gone: AbortSignal;
  /** The key in prompts: its comment, which any client may have chosen, and its fingerprint. */
  readonly keyName: string;
  /** What the signature is for, as a line for the user; undefined if the agent cannot tell. */
  readonly purpose: string | undefined;
  /** The client's connections to upstream agents. */
  readonly upstreams: ClientUpstreams;
  /** The tokens whose PIN prompt the user of this connection has not answered. */
  readonly pinBackoff: PinPromptBackoff;
  /**
   * Asks for a PIN. Undefined if prompts are not allowed.
   * @param signal aborted, with a `Failure`, to cancel the prompt
   * @returns UTF-8, which the caller overwrites; undefined without a display or an answer
   * @throws {Failure} if the prompt was cancelled, or the identity is gone
   */
  readonly askPin:
    | ((question: string, signal: AbortSignal) => Promise<Buffer | undefined>)
    | undefined;
  /** Shows a notice; the returned function closes it. */
  readonly notify: (text: string) => () => void;
}
