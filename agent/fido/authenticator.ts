/**
 * Keys on FIDO authenticators: the agent holds a key handle and the path of a library, and
 * OpenSSH's `ssh-sk-helper` has the authenticator sign.
 */

import {
  decodeSkSignature,
  encodeSkSigning,
  SkHelperError,
  skErrors,
} from "../../openssh/sk-helper.ts";
import { Failure } from "../../protocol/failure.ts";
import { fingerprint } from "../../protocol/fingerprint.ts";
import type { PrivateKey } from "../../protocol/private-key.ts";
import { encodePublicKey, type FingerprintHash, keyTypeName } from "../../protocol/public-key.ts";
import { checkLibraryFile } from "../pkcs11/library-file.ts";
import type { Signer, SignRequest, UserInteraction } from "../signer.ts";
import type { AskHelper } from "./helper.ts";

/** The parts that all authenticators share. */
export interface AuthenticatorParts {
  readonly askHelper: AskHelper;
  readonly fingerprintHash: FingerprintHash;
  /** Logs a signature that waits for a PIN. */
  readonly log: (line: string) => void;
}

/** The flag of a key that needs a touch for each signature (PROTOCOL.u2f). */
const userPresence = 0x01;

/** A key on an authenticator. */
export class Authenticator implements Signer {
  readonly #parts: AuthenticatorParts;
  readonly #key: PrivateKey;
  readonly #provider: string;
  readonly #name: string;
  readonly #needsTouch: boolean;

  /**
   * @param key of type "sk-ecdsa" or "sk-ed25519"; its secret fields are copied
   * @param provider the canonical path of a library, or "internal"
   */
  constructor(parts: AuthenticatorParts, key: PrivateKey, provider: string) {
    const { publicKey, secret } = key;
    if (!("keyHandle" in secret) || !("application" in publicKey)) {
      throw new Failure("internal", "The key is not on an authenticator.");
    }
    this.#parts = parts;
    this.#provider = provider;
    this.#key = {
      publicKey,
      certificate: undefined,
      secret: {
        ...secret,
        keyHandle: Buffer.from(secret.keyHandle),
        reserved: Buffer.from(secret.reserved),
      },
    };
    const print = fingerprint(encodePublicKey(publicKey), parts.fingerprintHash);
    this.#name = `${keyTypeName(publicKey)} ${print}`;
    this.#needsTouch = (secret.flags & userPresence) !== 0;
  }

  /**
   * Has the authenticator sign. The user is told to touch it if the key needs that, and is asked
   * for its PIN if it needs one. The wait for a touch ends when the client has gone.
   * @throws {Failure}
   */
  async sign({ data }: SignRequest, interaction: UserInteraction): Promise<Buffer> {
    const none = Buffer.alloc(0);
    const first = await this.#try(data, interaction, none);
    if (first !== "wrong PIN") return first;
    this.#parts.log("a signature waits for the PIN of an authenticator");
    const touch = this.#needsTouch ? " and confirm user presence " : " ";
    const question = `Enter PIN${touch}for ${this.#name}: `;
    const pin = await interaction.askPin?.(question, interaction.gone);
    if (pin === undefined) {
      throw new Failure("pin-required", "The authenticator needs its PIN.", askpassHint);
    }
    try {
      const second = await this.#try(data, interaction, pin);
      if (second !== "wrong PIN") return second;
      throw new Failure("pin-incorrect", "The authenticator refused the PIN.");
    } finally {
      pin.fill(0);
    }
  }

  async #try(
    data: Buffer,
    { gone, purpose, notify }: UserInteraction,
    pin: Buffer,
  ): Promise<Buffer | "wrong PIN"> {
    // The helper loads the library for each signature, and its file may have been replaced.
    if (this.#provider !== "internal") await checkLibraryFile(this.#provider);
    const request = encodeSkSigning({ key: this.#key, provider: this.#provider, data, pin });
    const lines = [`Confirm user presence for key ${this.#name}`];
    if (purpose !== undefined) lines.push(purpose);
    const done = this.#needsTouch ? notify(lines.join("\n")) : () => {};
    const signal = this.#needsTouch ? gone : undefined;
    try {
      return decodeSkSignature(await this.#parts.askHelper(request, signal));
    } catch (error) {
      if (!(error instanceof SkHelperError)) throw error;
      if (error.code === skErrors.wrongPin) return "wrong PIN";
      throw refusal(error.code, this.#provider);
    } finally {
      done();
    }
  }
}

const askpassHint = "Start ssh-agent with SSH_ASKPASS and DISPLAY set, so that it can ask for it.";

function refusal(code: number, provider: string): Failure {
  const library = provider === "internal" ? "OpenSSH" : `The library ${provider}`;
  switch (code) {
    case skErrors.deviceNotFound:
      return new Failure(
        "no-token",
        `${library} found no authenticator that holds this key.`,
        "Plug it in, then try again.",
      );
    case skErrors.keyNotFound:
      return new Failure("key-not-found", "The authenticator does not hold this key.");
    case skErrors.unsupported:
      return new Failure("unsupported", `${library} cannot have this key sign.`);
    default:
      return new Failure(
        "unsupported",
        `${library} could not have the authenticator sign (OpenSSH's error ${code}).`,
        "Give ssh-add the library of this authenticator with -S, or plug the authenticator in.",
      );
  }
}
