/**
 * The identities that the agent holds, in the order in which they came. An identity is found by its
 * blob in constant time.
 */
import { blobId } from "../protocol/public-key.ts";
import { type End, ExpiryTimer } from "./expiry.ts";
import type { Clock, WallClock } from "./host/clock.ts";
import type { KeyringIdentity } from "./identity.ts";
import type { Signer } from "./signer.ts";

/** Why an identity went. */
export type Removal = "request" | "lifetime" | "ended";

/** The identities of an agent. */
export class Keyring {
  readonly #wallClock: WallClock;
  readonly #onRemoved: (identity: KeyringIdentity, removal: Removal) => void;
  readonly #timer: ExpiryTimer;
  /**
   * By the names of blobs: the identity that is listed, then those of other providers, which take
   * its place when it goes.
   */
  #identities = new Map<string, readonly KeyringIdentity[]>();
  /**
   * Keys on cards without an identity, since their certificates have ended or were renewed: each by
   * the last of them. They are not listed and do not sign; a new certificate can be attached.
   */
  readonly #uncertified = new Set<KeyringIdentity>();

  /**
   * @param clock what lifetimes are measured on
   * @param wallClock what certificates end by
   * @param onRemoved told of each identity that goes by `remove` or because its time is over
   */
  constructor(
    clock: Clock,
    wallClock: WallClock,
    onRemoved: (identity: KeyringIdentity, removal: Removal) => void,
  ) {
    this.#wallClock = wallClock;
    this.#onRemoved = onRemoved;
    this.#timer = new ExpiryTimer(clock, wallClock, () => this.#expire());
  }

  /** How many identities there are. */
  get size(): number {
    return this.#identities.size;
  }

  /** The identities that are listed, in order. */
  *identities(): Generator<KeyringIdentity> {
    for (const [listed] of this.#identities.values()) if (listed !== undefined) yield listed;
  }

  /** All identities: those that are listed, then those of other providers behind them. */
  *all(): Generator<KeyringIdentity> {
    yield* this.identities();
    for (const [, ...others] of this.#identities.values()) yield* others;
  }

  /** The identity that goes by a key blob or certificate blob. */
  find(blob: Uint8Array): KeyringIdentity | undefined {
    return this.#identities.get(blobId(blob))?.[0];
  }

  /** All that goes by a blob: the identity that is listed, and those of other providers behind it. */
  findAll(blob: Uint8Array): readonly KeyringIdentity[] {
    return this.#at(blobId(blob));
  }

  /**
   * The identities that hold the private key of a plain key's blob: the key, then certificates, then
   * one that has ended, of a key on a card.
   */
  withPrivateKey(keyBlob: Buffer): KeyringIdentity[] {
    const all = [...this.#held()].filter((one) => one.keyBlob.equals(keyBlob));
    const isPlain = ({ certificate }: KeyringIdentity) => certificate === undefined;
    return [...all.filter(isPlain), ...all.filter((one) => !isPlain(one))];
  }

  /**
   * Adds an identity that is no provider's at the end, or puts it in the place of the one with the
   * same blob, or else of the certificates that it supersedes. A provider's with the same blob stays
   * behind it, and takes the place when it goes.
   */
  add(identity: KeyringIdentity, renewed: ReadonlySet<KeyringIdentity> = new Set()): void {
    const name = blobId(identity.blob);
    const isListed = this.#identities.has(name);
    const [known, ...others] = this.#at(name);
    this.#put(name, [identity, ...others, ...(known?.provider === undefined ? [] : [known])]);
    if (renewed.size > 0) this.#place(identity, renewed, isListed ? identity : undefined);
    this.#schedule();
  }

  /**
   * Puts a certificate before another identity, or in the place of those that it replaces, also of
   * what other providers have under their blobs. Clients offer identities in this order, and a
   * certificate is what a server rather wants.
   */
  addCertificate(
    certificate: KeyringIdentity,
    before: KeyringIdentity,
    replaced: ReadonlySet<KeyringIdentity>,
  ): void {
    const same = this.find(certificate.blob);
    const gone = new Set(same === undefined ? replaced : [...replaced, same]);
    this.#place(certificate, gone, gone.size === 0 ? before : undefined);
    for (const one of this.#uncertified)
      if (isSameKey(one, certificate)) this.#uncertified.delete(one);
    this.#schedule();
  }

  /** Lists an identity before another one, else in the place of those that go, else at the end. */
  #place(
    identity: KeyringIdentity,
    gone: ReadonlySet<KeyringIdentity>,
    before: KeyringIdentity | undefined,
  ): void {
    const name = blobId(identity.blob);
    const all = [identity, ...this.#at(name).slice(1)];
    const removed: KeyringIdentity[] = [];
    const reordered = new Map<string, readonly KeyringIdentity[]>();
    for (const [otherName, others] of this.#identities) {
      const [other = identity] = others;
      const isPlace = before === undefined ? gone.has(other) : other === before;
      if (isPlace && !reordered.has(name)) reordered.set(name, all);
      if (gone.has(other)) removed.push(...others);
      else if (other !== identity) reordered.set(otherName, others);
    }
    if (!reordered.has(name)) reordered.set(name, all);
    this.#identities = reordered;
    this.#forget(removed);
    this.#keepKeys(removed);
  }

  /** Removes the identity that goes by a blob, wherever it is from; false when there is none. */
  remove(blob: Uint8Array): boolean {
    const name = blobId(blob);
    const gone = this.#at(name);
    this.#put(name, []);
    for (const one of gone) this.#onRemoved(one, "request");
    return gone.length > 0;
  }

  /**
   * Removes identities of a provider, without telling `onRemoved`.
   * @param keys the names of the plain keys that go, with their certificates; undefined for all
   */
  removeProvider(path: string, keys?: ReadonlySet<string>): KeyringIdentity[] {
    const isGone = ({ provider, keyBlob }: KeyringIdentity) =>
      provider === path && (keys === undefined || keys.has(blobId(keyBlob)));
    for (const one of this.#uncertified) if (isGone(one)) this.#uncertified.delete(one);
    return this.#removeWhere(isGone);
  }

  /** The identities of a provider, in order, also those that wait behind another one's. */
  ofProvider(path: string): KeyringIdentity[] {
    return [...this.#identities.values()].flat().filter(({ provider }) => provider === path);
  }

  /** All that holds a key of a provider, also what is not listed any more. */
  heldOf(path: string): KeyringIdentity[] {
    return [...this.#held()].filter(({ provider }) => provider === path);
  }

  /** Whether there is a key of a provider, be it one that has no certificate any more. */
  hasKeyOf(path: string): boolean {
    return this.heldOf(path).length > 0;
  }

  /**
   * Puts identities in the place of those that a provider has, without telling `onRemoved`. Where
   * several providers have the same one, each keeps its place among them: whose limits hold is not
   * changed by loading a provider again.
   */
  exchangeProvider(path: string, identities: readonly KeyringIdentity[]): void {
    const isOwn = ({ provider }: KeyringIdentity) => provider === path;
    const names = new Set(identities.map(({ blob }) => blobId(blob)));
    for (const one of this.#uncertified) if (isOwn(one)) this.#uncertified.delete(one);
    this.#removeWhere((one) => isOwn(one) && !names.has(blobId(one.blob)));
    for (const identity of identities) {
      const name = blobId(identity.blob);
      const known = this.#at(name);
      const all = known.some(isOwn)
        ? known.map((one) => (isOwn(one) ? identity : one))
        : [...known, identity];
      // Those that are listed are listed anew, in their order.
      if (all[0] === identity) this.#identities.delete(name);
      this.#put(name, all);
    }
    this.#schedule();
  }

  /** Removes all identities, without telling `onRemoved`. */
  clear(): void {
    const all = [...this.all()];
    this.#identities.clear();
    this.#uncertified.clear();
    this.#forget(all);
    this.#schedule();
  }

  /** Removes what a condition holds for; another provider's identity takes the place. */
  #removeWhere(isGone: (identity: KeyringIdentity) => boolean): KeyringIdentity[] {
    const removed: KeyringIdentity[] = [];
    for (const [name, all] of [...this.#identities]) {
      const gone = all.filter(isGone);
      if (gone.length === 0) continue;
      removed.push(...gone);
      this.#put(
        name,
        all.filter((one) => !isGone(one)),
      );
    }
    return removed;
  }

  /** What there is under a name: the identity that is listed, and those behind it. */
  #at(name: string): readonly KeyringIdentity[] {
    return this.#identities.get(name) ?? [];
  }

  #put(name: string, identities: readonly KeyringIdentity[]): void {
    const gone = this.#at(name).filter((known) => !identities.includes(known));
    if (identities.length === 0) this.#identities.delete(name);
    else this.#identities.set(name, identities);
    this.#forget(gone);
  }

  /** Has the signers of identities that have gone give up their keys, but for those of others too. */
  #forget(gone: readonly KeyringIdentity[]): void {
    const signers = new Set<Signer>();
    for (const { signer } of gone) if (signer.forget !== undefined) signers.add(signer);
    if (signers.size === 0) return;
    for (const { signer } of this.all()) signers.delete(signer);
    for (const signer of signers) signer.forget?.();
  }

  /** Keeps the keys on cards that would be without an identity. */
  #keepKeys(removed: readonly KeyringIdentity[]): void {
    for (const one of removed) {
      if (one.provider === undefined) continue;
      const isHeld = [...this.#held()].some((other) => isSameKey(other, one));
      if (!isHeld) this.#uncertified.add(one);
    }
  }

  /** Sets the timer for what ends first. */
  #schedule(): void {
    this.#timer.set([...Array.from(this.all(), endOf), ...Array.from(this.#uncertified, keyEndOf)]);
  }

  #expire(): void {
    const wallNow = this.#wallClock();
    const isDue = this.#timer.due();
    const hasEnded = ({ certificate }: KeyringIdentity) =>
      certificate !== undefined && certificate.validBefore <= wallNow;
    const removed = this.#removeWhere((one) => isDue(endOf(one)));
    // Nobody who lets a certificate end wants to type the card's PIN for the next one.
    this.#keepKeys(removed.filter((one) => hasEnded(one) && !isDue(keyEndOf(one))));
    const expired = [...this.#uncertified].filter((one) => isDue(keyEndOf(one)));
    for (const one of expired) this.#uncertified.delete(one);
    for (const one of removed) this.#onRemoved(one, hasEnded(one) ? "ended" : "lifetime");
    for (const one of expired) this.#onRemoved(one, "lifetime");
    this.#schedule();
  }

  /** All that may hold a private key, the listed ones first. */
  *#held(): Generator<KeyringIdentity> {
    yield* this.all();
    yield* this.#uncertified;
  }
}

/** When an identity goes. */
function endOf({ limits, dropped }: KeyringIdentity): End {
  return { expires: limits.expires, dropped };
}

/** When its private key does. */
function keyEndOf({ keyExpires }: KeyringIdentity): End {
  return { expires: keyExpires };
}

function isSameKey(one: KeyringIdentity, other: KeyringIdentity): boolean {
  return one.provider === other.provider && one.keyBlob.equals(other.keyBlob);
}
