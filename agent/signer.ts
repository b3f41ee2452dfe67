/** What signs with a private key, wherever that is: in memory, on a card, on an authenticator. */
import type { PinPromptBackoff } from "./pkcs11/pin-prompt.ts";

/** A signature that a client asks for (RFC 9987, section 3.6). */
export interface SignRequest {
  /** How the client names the identity: the plain key's blob, or a certificate's. */
  readonly keyBlob: Buffer;
  /** What is signed, not hashed. It must not change before the signature is there. */
  readonly data: Buffer;
  /** As in `signatureFlags`. */
  readonly flags: number;
}

/** Signs with one private key. */
export interface Signer {
  /**
   * @param interaction whom to ask for a PIN, and to tell that something is to be touched
   * @returns the signature blob, at once where that takes only microseconds
   * @throws {Failure}
   */
  sign(request: SignRequest, interaction: UserInteraction): Buffer | Promise<Buffer>;

  /** Gives up what it holds of the private key, and signs no more. */
  forget?(): void;
}

/** The user of the client that asks for a signature, for that one signature. */
export interface UserInteraction {
  /** Aborted, with a `Failure`, when nobody is to be asked for the signature any more. */
  readonly gone: AbortSignal;
  /** The key as prompts name it: its comment, which any client may have chosen, and fingerprint. */
  readonly keyName: string;
  /** What the signature is for, as a line for the user; undefined where the agent cannot tell. */
  readonly purpose: string | undefined;
  /** The tokens whose PIN this client's user was asked for in vain. */
  readonly pinBackoff: PinPromptBackoff;
  /**
   * Asks for a PIN. Undefined where nobody is to be asked.
   * @param unwanted aborted, with a `Failure`, when nobody who waits for the PIN is left
   * @returns UTF-8, for the caller to overwrite; undefined when there is nobody to ask, or no answer
   * @throws {Failure} when there is nothing to sign any more by then
   */
  readonly askPin:
    | ((question: string, unwanted: AbortSignal) => Promise<Buffer | undefined>)
    | undefined;
  /** Shows a notice; the function that it returns takes it away. */
  readonly notify: (text: string) => () => void;
}
