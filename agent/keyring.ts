/**
 * The identities of the agent: first the certificates of keys on cards, then all others, each in the
 * order in which they were added. Lookup by blob takes constant time.
 */
import { blobId } from "../protocol/public-key.ts";
import { EarliestTimer, type Moment } from "./earliest-timer.ts";
import type { Clock, WallClock } from "./host/clock.ts";
import type { KeyringIdentity } from "./identity.ts";
import type { Signer } from "./signer.ts";

/** Why an identity was removed. */
export type Removal = "request" | "lifetime" | "ended";

/** The identities of an agent. */
export class Keyring {
  readonly #wallClock: WallClock;
  readonly #onRemoved: (identity: KeyringIdentity, removal: Removal) => void;
  readonly #onChanged: () => void;
  readonly #timer: EarliestTimer;
  /**
   * By blob ID: the identity that is listed, then those of other providers, which take its place
   * when it is removed.
   */
  #identities = new Map<string, readonly KeyringIdentity[]>();
  /**
   * Keys on cards that lost their identities, since their certificates expired or were superseded;
   * each as the identity of its last certificate. They are not listed and do not sign; a new
   * certificate can be attached.
   */
  readonly #uncertified = new Set<KeyringIdentity>();

  /**
   * @param clock measures lifetimes
   * @param wallClock tells when certificates expire
   * @param onRemoved called for each identity that `remove` or its expiry removes
   * @param onChanged called after every change
   */
  constructor(
    clock: Clock,
    wallClock: WallClock,
    onRemoved: (identity: KeyringIdentity, removal: Removal) => void,
    onChanged: () => void = () => {},
  ) {
    this.#wallClock = wallClock;
    this.#onRemoved = onRemoved;
    this.#onChanged = onChanged;
    this.#timer = new EarliestTimer(clock, wallClock, () => this.#expire());
  }

  /** How many identities are listed. */
  get size(): number {
    return this.#identities.size;
  }

  /**
   * The identities that are listed, in order. Clients offer them in this order, and servers accept
   * only a few tries; a certificate for a key on a card was given to the agent to be used.
   */
  *identities(): Generator<KeyringIdentity> {
    const others: KeyringIdentity[] = [];
    for (const [listed] of this.#identities.values()) {
      if (listed === undefined) continue;
      if (isCardCertificate(listed)) yield listed;
      else others.push(listed);
    }
    yield* others;
  }

  /** All identities: the listed ones, then those of other providers behind them. */
  *all(): Generator<KeyringIdentity> {
    yield* this.identities();
    for (const [, ...others] of this.#identities.values()) yield* others;
  }

  /** The listed identity with a key blob or certificate blob. */
  find(blob: Uint8Array): KeyringIdentity | undefined {
    return this.#identities.get(blobId(blob))?.[0];
  }

  /** All identities with a blob: the listed one, then those of other providers behind it. */
  findAll(blob: Uint8Array): readonly KeyringIdentity[] {
    return this.#at(blobId(blob));
  }

  /**
   * The identities that hold the private key of a plain key blob: the key, then certificates, then
   * a card's key without a valid certificate.
   */
  withPrivateKey(keyBlob: Buffer): KeyringIdentity[] {
    const all = [...this.#held()].filter((one) => one.keyBlob.equals(keyBlob));
    const isPlain = ({ certificate }: KeyringIdentity) => certificate === undefined;
    return [...all.filter(isPlain), ...all.filter((one) => !isPlain(one))];
  }

  /**
   * Adds an identity without a provider: in the place of the one with the same blob, or of the
   * certificates that it supersedes, or else at the end. A provider's identity with the same blob
   * stays behind it, and takes its place when it is removed.
   */
  add(identity: KeyringIdentity, renewed: ReadonlySet<KeyringIdentity> = new Set()): void {
    const name = blobId(identity.blob);
    const isListed = this.#identities.has(name);
    const [known, ...others] = this.#at(name);
    this.#put(name, [identity, ...others, ...(known?.provider === undefined ? [] : [known])]);
    if (renewed.size > 0) this.#place(identity, renewed, isListed ? identity : undefined);
    this.#changed();
  }

  /**
   * Lists a certificate before another identity, or else at the end, or in the place of those that it
   * replaces, including those of other providers with the same blobs. Clients offer identities in
   * this order, and a server more likely accepts a certificate.
   */
  addCertificate(
    certificate: KeyringIdentity,
    before: KeyringIdentity | undefined,
    replaced: ReadonlySet<KeyringIdentity>,
  ): void {
    const same = this.find(certificate.blob);
    const gone = new Set(same === undefined ? replaced : [...replaced, same]);
    this.#place(certificate, gone, gone.size === 0 ? before : undefined);
    for (const one of this.#uncertified)
      if (isSameKey(one, certificate)) this.#uncertified.delete(one);
    this.#changed();
  }

  /** Lists an identity before another one, else in the place of removed ones, else at the end. */
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

  /** Removes all identities with a blob. @returns whether there were any */
  remove(blob: Uint8Array): boolean {
    const name = blobId(blob);
    const gone = this.#at(name);
    this.#put(name, []);
    for (const one of gone) this.#onRemoved(one, "request");
    this.#changed();
    return gone.length > 0;
  }

  /**
   * Removes identities of a provider, without calling `onRemoved`.
   * @param keys blob IDs of the plain keys to remove, with their certificates; undefined for all
   */
  removeProvider(path: string, keys?: ReadonlySet<string>): KeyringIdentity[] {
    const isGone = ({ provider, keyBlob }: KeyringIdentity) =>
      provider === path && (keys === undefined || keys.has(blobId(keyBlob)));
    for (const one of this.#uncertified) if (isGone(one)) this.#uncertified.delete(one);
    const removed = this.#removeWhere(isGone);
    this.#changed();
    return removed;
  }

  /** The identities of a provider, in order, including those behind another one's. */
  ofProvider(path: string): KeyringIdentity[] {
    return [...this.#identities.values()].flat().filter(({ provider }) => provider === path);
  }

  /** All identities with a key of a provider, including those no longer listed. */
  heldOf(path: string): KeyringIdentity[] {
    return [...this.#held()].filter(({ provider }) => provider === path);
  }

  /** Whether a key of a provider is held, with or without a valid certificate. */
  hasKeyOf(path: string): boolean {
    return this.heldOf(path).length > 0;
  }

  /**
   * Replaces the identities of a provider, without calling `onRemoved`. Where several providers
   * have the same one, each keeps its place among them: reloading a provider does not change whose
   * limits apply.
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
      // Reinsert the listed ones, so that they follow the order of `identities`.
      if (all[0] === identity) this.#identities.delete(name);
      this.#put(name, all);
    }
    this.#changed();
  }

  /** Removes all identities, without calling `onRemoved`. */
  clear(): void {
    const all = [...this.all()];
    this.#identities.clear();
    this.#uncertified.clear();
    this.#forget(all);
    this.#changed();
  }

  /** Removes matching identities; those of other providers take their places. */
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

  /** The identities with a blob ID: the listed one, then those behind it. */
  #at(name: string): readonly KeyringIdentity[] {
    return this.#identities.get(name) ?? [];
  }

  #put(name: string, identities: readonly KeyringIdentity[]): void {
    const gone = this.#at(name).filter((known) => !identities.includes(known));
    if (identities.length === 0) this.#identities.delete(name);
    else this.#identities.set(name, identities);
    this.#forget(gone);
  }

  /** Wipes the keys of signers that no other identity uses. */
  #forget(gone: readonly KeyringIdentity[]): void {
    const signers = new Set<Signer>();
    for (const { signer } of gone) if (signer.forget !== undefined) signers.add(signer);
    if (signers.size === 0) return;
    for (const { signer } of this.all()) signers.delete(signer);
    for (const signer of signers) signer.forget?.();
  }

  /** Keeps keys on cards that would lose their last identity. */
  #keepKeys(removed: readonly KeyringIdentity[]): void {
    for (const one of removed) {
      if (one.provider === undefined) continue;
      const isHeld = [...this.#held()].some((other) => isSameKey(other, one));
      if (!isHeld) this.#uncertified.add(one);
    }
  }

  /** Sets the timer for the next expiry, and tells of a change. */
  #changed(): void {
    this.#timer.set([...Array.from(this.all(), endOf), ...Array.from(this.#uncertified, keyEndOf)]);
    this.#onChanged();
  }

  #expire(): void {
    const wallNow = this.#wallClock();
    const isDue = this.#timer.due();
    const hasEnded = ({ certificate }: KeyringIdentity) =>
      certificate !== undefined && certificate.validBefore <= wallNow;
    const removed = this.#removeWhere((one) => isDue(endOf(one)));
    // Keep the key, so that its next certificate can be attached without the PIN.
    this.#keepKeys(removed.filter((one) => hasEnded(one) && !isDue(keyEndOf(one))));
    const expired = [...this.#uncertified].filter((one) => isDue(keyEndOf(one)));
    for (const one of expired) this.#uncertified.delete(one);
    for (const one of removed) this.#onRemoved(one, hasEnded(one) ? "ended" : "lifetime");
    for (const one of expired) this.#onRemoved(one, "lifetime");
    this.#changed();
  }

  /** All identities that may hold a private key, the listed ones first. */
  *#held(): Generator<KeyringIdentity> {
    yield* this.all();
    yield* this.#uncertified;
  }
}

/** When an identity expires. */
function endOf({ limits, dropped }: KeyringIdentity): Moment {
  return { clock: limits.expires, wall: dropped };
}

/** When its private key expires. */
function keyEndOf({ keyExpires }: KeyringIdentity): Moment {
  return { clock: keyExpires };
}

function isCardCertificate({ certificate, provider, upstream }: KeyringIdentity): boolean {
  return certificate !== undefined && (provider ?? upstream) !== undefined;
}

function isSameKey(one: KeyringIdentity, other: KeyringIdentity): boolean {
  return one.provider === other.provider && one.keyBlob.equals(other.keyBlob);
}
