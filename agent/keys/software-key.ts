/**
 * Private keys that the agent holds itself. Each is kept encrypted, with one in the clear beside it
 * while it is in use; every buffer that held its numbers is overwritten.
 */
import { signComposite } from "../../protocol/composite.ts";
import { Failure, invalidKey } from "../../protocol/failure.ts";
import { signatureFlags } from "../../protocol/numbers.ts";
import type { PrivateKey } from "../../protocol/private-key.ts";
import type { PublicKey } from "../../protocol/public-key.ts";
import { encodeSignature, signatureAlgorithm } from "../../protocol/signature.ts";
import { signAsync, signSync } from "../../protocol/signing.ts";
import { verifySignature } from "../../protocol/verification.ts";
import type { FreedMemory } from "../host/freed-memory.ts";
import type { Signer, SignRequest } from "../signer.ts";
import { type ClearKey, type EncodedKey, encodeKey, openKey, wipeKey } from "./clear-key.ts";
import type { OpenKeys } from "./open-keys.ts";
import type { Sealed, Shield } from "./shield.ts";

/** The parts that all keys of an agent share. */
export interface SoftwareKeyParts {
  readonly freedMemory: FreedMemory;
  readonly shield: Shield;
  readonly openKeys: OpenKeys;
}

type State =
  | { readonly type: "open"; readonly key: ClearKey; readonly sealed: Sealed }
  | { readonly type: "shielded"; readonly sealed: Sealed }
  | { readonly type: "forgotten" };

/** A private key in memory. */
export class SoftwareKey implements Signer {
  readonly #parts: SoftwareKeyParts;
  readonly #publicKey: PublicKey;
  /** The encoded key without its bytes. */
  readonly #form: EncodedKey;
  readonly #isQuick: boolean;
  #state: State;
  /** The time of its last use, on the clock of `OpenKeys`. */
  usedAt = 0;

  private constructor(parts: SoftwareKeyParts, key: PublicKey, encoded: EncodedKey) {
    this.#parts = parts;
    this.#form = { ...encoded, bytes: Buffer.alloc(0) };
    this.#publicKey = key;
    this.#isQuick = isQuick(key);
    this.#state = { type: "shielded", sealed: parts.shield.seal(encoded.bytes) };
  }

  /**
   * Imports a private key, and checks with one signature that it belongs to its public key. The
   * caller overwrites the secret fields.
   * @throws {Failure} malformed; unsupported, for keys on FIDO authenticators
   */
  static async import(parts: SoftwareKeyParts, key: PrivateKey): Promise<SoftwareKey> {
    const { publicKey } = key;
    const encoded = encodeKey(key);
    const made = new SoftwareKey(parts, publicKey, encoded);
    encoded.bytes.fill(0);
    const data = Buffer.from("cardagent: does this private key belong to its public key?");
    try {
      const signature = await made.sign({ data, flags: signatureFlags.rsaSha256 });
      if (verifySignature(publicKey, signature, data)) return made;
    } catch (error) {
      if (error instanceof Failure) throw error;
    }
    made.forget();
    throw invalidKey("The private key does not belong to its public key.");
  }

  /**
   * Signs. Ed25519 and P-256 take less time than a round trip to another thread, and ML-DSA may be
   * computed in JavaScript; other keys use the thread pool, so that connections do not wait for each
   * other.
   * @throws {Failure}
   */
  sign({ data, flags }: Pick<SignRequest, "data" | "flags">): Buffer | Promise<Buffer> {
    const algorithm = signatureAlgorithm(this.#publicKey, flags);
    const { openKeys } = this.#parts;
    const key = this.#open();
    openKeys.noteUse(this);
    if (key.type === "composite") {
      return encodeSignature(algorithm, signComposite(key.secret, data));
    }
    if (this.#isQuick) return signSync(key.object, algorithm, data);
    return signAsync(key.object, algorithm, data).finally(() => {
      // The thread held the key, which may have been shielded meanwhile.
      if (this.#state.type !== "open") openKeys.collectSoon();
    });
  }

  open(): void {
    if (this.#state.type === "shielded") this.#open();
  }

  /** Drops the key in the clear. A signature in progress completes. */
  shield(): void {
    if (this.#state.type !== "open") return;
    wipeKey(this.#state.key);
    this.#state = { type: "shielded", sealed: this.#state.sealed };
    this.#parts.openKeys.noteShielded(this);
  }

  /** Gives the key up: it signs no more. A signature in progress completes. */
  forget(): void {
    this.shield();
    this.#state = { type: "forgotten" };
  }

  #open(): ClearKey {
    const state = this.#state;
    switch (state.type) {
      case "open":
        return state.key;
      case "shielded": {
        const bytes = this.#parts.shield.open(state.sealed);
        const key = openKey(this.#parts.freedMemory, { ...this.#form, bytes });
        this.#state = { type: "open", key, sealed: state.sealed };
        this.#parts.openKeys.noteOpened(this);
        return key;
      }
      case "forgotten":
        throw new Failure("key-not-found", "The key was removed meanwhile.");
    }
  }
}

function isQuick(key: PublicKey): boolean {
  return key.type === "ed25519" || (key.type === "ecdsa" && key.curve === "nistp256");
}
