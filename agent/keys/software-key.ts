/**
 * Private keys that the agent holds itself. Each is kept encrypted, with a `KeyObject` beside it
 * while it is in use; every buffer that held its numbers is overwritten.
 */
import { createPrivateKey, type KeyObject } from "node:crypto";
import { errorCode } from "../../openssh/strerror.ts";
import { Failure, invalidKey } from "../../protocol/failure.ts";
import { signatureFlags } from "../../protocol/numbers.ts";
import type { PrivateKey } from "../../protocol/private-key.ts";
import type { PublicKey } from "../../protocol/public-key.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { signAsync, signSync } from "../../protocol/signing.ts";
import { verifySignature } from "../../protocol/verification.ts";
import type { FreedMemory } from "../host/freed-memory.ts";
import type { Signer, SignRequest } from "../signer.ts";
import type { OpenKeys } from "./open-keys.ts";
import { type PrivateDer, privateDer } from "./private-der.ts";
import type { Sealed, Shield } from "./shield.ts";

/** The parts that all keys of an agent share. */
export interface SoftwareKeyParts {
  readonly freedMemory: FreedMemory;
  readonly shield: Shield;
  readonly openKeys: OpenKeys;
}

/** A key is open while OpenSSL has it in the clear. */
type State =
  | { readonly type: "open"; readonly object: KeyObject; readonly sealed: Sealed }
  | { readonly type: "shielded"; readonly sealed: Sealed }
  | { readonly type: "forgotten" };

/** A private key in memory. */
export class SoftwareKey implements Signer {
  readonly #parts: SoftwareKeyParts;
  readonly #publicKey: PublicKey;
  readonly #form: Omit<PrivateDer, "der">;
  readonly #isQuick: boolean;
  #state: State;
  /** The time of its last use, on the clock of `OpenKeys`. */
  usedAt = 0;

  private constructor(parts: SoftwareKeyParts, key: PublicKey, encoded: PrivateDer) {
    const { der, ...form } = encoded;
    this.#parts = parts;
    this.#form = form;
    this.#publicKey = key;
    this.#isQuick = isQuick(key);
    this.#state = { type: "shielded", sealed: parts.shield.seal(der) };
  }

  /**
   * Imports a private key, and checks with one signature that it belongs to its public key. The
   * caller overwrites the secret fields.
   * @throws {Failure} malformed; unsupported, for keys on FIDO authenticators
   */
  static async import(parts: SoftwareKeyParts, key: PrivateKey): Promise<SoftwareKey> {
    const { publicKey } = key;
    const encoded = privateDer(key);
    const made = new SoftwareKey(parts, publicKey, encoded);
    encoded.der.fill(0);
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
   * Signs. Ed25519 and P-256 take less time than a round trip to another thread; other keys use the
   * thread pool, so that connections do not wait for each other.
   * @throws {Failure}
   */
  sign({ data, flags }: Pick<SignRequest, "data" | "flags">): Buffer | Promise<Buffer> {
    const algorithm = signatureAlgorithm(this.#publicKey, flags);
    const { openKeys } = this.#parts;
    const object = this.#open();
    openKeys.noteUse(this);
    if (this.#isQuick) return signSync(object, algorithm, data);
    return signAsync(object, algorithm, data).finally(() => {
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
    this.#state = { type: "shielded", sealed: this.#state.sealed };
    this.#parts.openKeys.noteShielded(this);
  }

  /** Gives the key up: it signs no more. A signature in progress completes. */
  forget(): void {
    this.shield();
    this.#state = { type: "forgotten" };
  }

  #open(): KeyObject {
    const state = this.#state;
    switch (state.type) {
      case "open":
        return state.object;
      case "shielded": {
        const der = this.#parts.shield.open(state.sealed);
        const object = makeObject(this.#parts.freedMemory, { ...this.#form, der });
        this.#state = { type: "open", object, sealed: state.sealed };
        this.#parts.openKeys.noteOpened(this);
        return object;
      }
      case "forgotten":
        throw new Failure("key-not-found", "The key was removed meanwhile.");
    }
  }
}

function isQuick(key: PublicKey): boolean {
  return key.type === "ed25519" || (key.type === "ecdsa" && key.curve === "nistp256");
}

/** Whether this Node.js makes keys of raw numbers; assumed until it has refused one. */
let hasRawKeys = true;

/** Makes OpenSSL's key, and overwrites the DER. */
function makeObject(freedMemory: FreedMemory, encoded: PrivateDer): KeyObject {
  try {
    return rawObject(encoded) ?? decodedObject(freedMemory, encoded);
  } catch {
    throw invalidKey("Invalid values in a private key.");
  } finally {
    encoded.der.fill(0);
  }
}

/** OpenSSL copies a raw number only into the key itself. */
function rawObject({ der, raw, numberLength }: PrivateDer): KeyObject | undefined {
  if (raw === undefined || !hasRawKeys) return;
  const { at, ...keyType } = raw;
  try {
    const key = der.subarray(at, at + numberLength);
    return createPrivateKey({ key, format: "raw-private", ...keyType });
  } catch (error) {
    if (errorCode(error) !== "ERR_INVALID_ARG_VALUE") throw error;
    hasRawKeys = false;
    return;
  }
}

function decodedObject(
  freedMemory: FreedMemory,
  { type, der, numberLength }: PrivateDer,
): KeyObject {
  // The DER is copied to a buffer whose size grows by thirds.
  const sizes = [Math.floor((der.length + 3) / 3) * 4, numberLength];
  return freedMemory.clearAfter(sizes, () => createPrivateKey({ key: der, format: "der", type }));
}
