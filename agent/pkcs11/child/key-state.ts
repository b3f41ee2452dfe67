/**
 * A key of a token, and which private key signs for it. Its signatures prove that; until one has,
 * the likeliest private key is used, and the next one when a signature is not the key's.
 */
import type { KeyObject } from "node:crypto";
import type { Failure } from "../../../protocol/failure.ts";
import { toKeyObject } from "../../../protocol/key-object.ts";
import { algorithmName } from "../../../protocol/public-key.ts";
import type { Cryptoki, Handle } from "./cryptoki.ts";
import { findPrivateKeys, type PrivateKey, rank, type TokenKey } from "./private-keys.ts";
import type { SessionPool } from "./sessions.ts";

/** The use of a private key in the current sessions. */
export interface PrivateKeyUse {
  readonly handle: Handle;
  /** Whether it has made a valid signature, so that it is no other key's. */
  readonly isProven: boolean;
}

/** A private key that made a signature that is not the key's, or may not sign. */
interface Wrong {
  readonly handle: Handle;
  readonly failure: Failure;
}

export class KeyState {
  readonly key: TokenKey;
  /** The index in `signingWays` of the way that made the last valid signature. */
  way = 0;
  /** Whether the token checks a PIN at each signature, once it has shown that. */
  contextLogin: boolean | undefined;
  /** CKA_SIGN, as far as it is known: some keys sign although it is false. */
  maySign = true;
  /** From the private key, which may be hidden until the first login. */
  #alwaysAuthenticate: boolean;
  #keyObject: KeyObject | undefined;
  /** The keys of the token, this one among them. */
  readonly #all: readonly KeyState[];
  #sessions: SessionPool | undefined;
  #use: PrivateKeyUse | undefined;
  #wrong: readonly Wrong[] = [];
  /** Whether a private key of the token has turned out to be another key's than its CKA_ID says. */
  #isMixedUp = false;
  /** The place of the right private key among the likely ones, in case of new sessions. */
  #place = 0;

  /**
   * @param sessions the sessions in which the key's handle is valid
   * @param all the keys of the token
   */
  constructor(key: TokenKey, sessions: SessionPool | undefined, all: readonly KeyState[]) {
    this.key = key;
    this.#alwaysAuthenticate = key.alwaysAuthenticate;
    this.#all = all;
    this.#sessions = sessions;
    this.#use = key.handle && { handle: key.handle, isProven: false };
  }

  /** Whether it has made a valid signature in its current sessions. */
  get hasSigned(): boolean {
    return this.#use?.isProven === true;
  }

  /** Whether each signature needs a login of its own. */
  get alwaysAuthenticate(): boolean {
    return this.contextLogin ?? this.#alwaysAuthenticate;
  }

  /** The public key for verification, cached: making it takes longer than verifying. */
  get keyObject(): KeyObject {
    this.#keyObject ??= toKeyObject(this.key.publicKey);
    return this.#keyObject;
  }

  /**
   * The private key to use; undefined if the session cannot see it.
   * @param sessions the session's pool
   * @param thorough whether to look at all private keys, not only at those with the key's CKA_ID
   * @throws {Failure} that of the last private key, if there is no other one to try
   */
  privateKeyIn(
    cryptoki: Cryptoki,
    sessions: SessionPool,
    session: Handle,
    thorough: boolean,
  ): PrivateKeyUse | undefined {
    this.#enter(sessions);
    if (this.#use !== undefined) return this.#use;
    const isById = !thorough && this.#place === 0 && this.#wrong.length === 0;
    const privates = findPrivateKeys(cryptoki, session, isById ? this.key.id : noId);
    if (!isById) for (const one of this.#all) one.#notePlace(privates, sessions);
    const found = this.#choose(privates);
    if (found === undefined) {
      const failure = this.#wrong.at(-1)?.failure;
      this.#wrong = [];
      if (failure !== undefined) throw failure;
      return undefined;
    }
    this.maySign = found.signs;
    this.#alwaysAuthenticate = found.alwaysAuthenticate;
    this.#use = { handle: found.handle, isProven: false };
    return this.#use;
  }

  /** Records that a private key made a valid signature. */
  signedBy(use: PrivateKeyUse): void {
    if (this.#use === use && !use.isProven) this.#prove(use.handle);
  }

  /**
   * Records that a private key made a signature that is not this key's.
   * @param isOf whether the signature is that of another key
   * @param failure for `privateKeyIn`, if there is no other private key to try
   * @returns whether another private key may be the right one
   */
  signedWrong(use: PrivateKeyUse, isOf: (other: KeyState) => boolean, failure: Failure): boolean {
    if (use.isProven) return false;
    if (this.#use !== use || this.#sessions === undefined) return true;
    this.#use = undefined;
    this.#wrong = [...this.#wrong, { handle: use.handle, failure }];
    const algorithm = algorithmName(this.key.publicKey);
    const isSimilar = (other: KeyState) => algorithmName(other.key.publicKey) === algorithm;
    const owner = this.#all.find((other) => other !== this && isSimilar(other) && isOf(other));
    if (owner === undefined) return true;
    for (const one of this.#all) one.#isMixedUp = true;
    owner.#enter(this.#sessions);
    owner.#prove(use.handle);
    return true;
  }

  /**
   * Records that the token refuses to sign with the private key.
   * @param failure for `privateKeyIn`, if there is no other private key to try
   * @returns whether another private key may be the right one
   */
  refused(failure: Failure): boolean {
    if (this.#use === undefined || this.#use.isProven) return false;
    this.#wrong = [...this.#wrong, { handle: this.#use.handle, failure }];
    this.#use = undefined;
    return true;
  }

  #enter(sessions: SessionPool): void {
    if (this.#sessions === sessions) return;
    this.#sessions = sessions;
    this.#use = undefined;
    this.#wrong = [];
  }

  #prove(handle: Handle): void {
    for (const other of this.#all) if (other.#uses(handle, this)) other.#use = undefined;
    this.#use = { handle, isProven: true };
    this.#wrong = [];
  }

  /** Whether it uses a private key in the same sessions as another key. */
  #uses(handle: Handle, key: KeyState): boolean {
    return this.#sessions === key.#sessions && this.#use?.handle.equals(handle) === true;
  }

  /** The likeliest private key that is not known to be another key's. */
  #choose(privates: readonly PrivateKey[]): PrivateKey | undefined {
    const likely = rank(this.key, privates);
    const inOrder = [...likely.slice(this.#place), ...likely.slice(0, this.#place)];
    const chosen = inOrder.find((one) => !this.#isExcluded(one));
    if (chosen !== undefined) this.#place = likely.indexOf(chosen);
    return chosen;
  }

  /** For new sessions, notes the place of the private key that made a valid signature. */
  #notePlace(all: readonly PrivateKey[], sessions: SessionPool): void {
    const use = this.#use;
    if (!use?.isProven || this.#sessions !== sessions) return;
    const place = rank(this.key, all).findIndex(({ handle }) => handle.equals(use.handle));
    if (place >= 0) this.#place = place;
  }

  /**
   * Whether a private key has signed for another key, or wrongly for this one. After a wrong
   * signature, those that have another key's CKA_ID are excluded, too: a signature may cost a touch,
   * and tokens that mix up the IDs are rare.
   */
  #isExcluded(one: PrivateKey): boolean {
    if (this.#wrong.some(({ handle }) => handle.equals(one.handle))) return true;
    const isDoubtful = this.#wrong.length > 0 && !this.#isMixedUp && !one.sharesId(this.key);
    return this.#all.some((other) => {
      if (other === this) return false;
      const isItsOwn = other.#use?.isProven === true && other.#uses(one.handle, this);
      return (
        isItsOwn || (isDoubtful && one.sharesId(other.key) && one.match(other.key) !== "other")
      );
    });
  }
}

const noId = Buffer.alloc(0);
