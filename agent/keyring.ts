/**
 * The identities that the agent holds, in the order in which they came.
 *
 * An identity is found by its blob in constant time. One timer serves lifetimes and the ends of
 * certificates.
 */
import type { DestinationConstraint } from "../protocol/constraints.ts";
import { maxFrameLength } from "../protocol/numbers.ts";
import { encodeText } from "../protocol/text.ts";
import type { VerifiedKey } from "../protocol/verification.ts";
import type { Authenticator } from "./fido/authenticator.ts";
import type { Clock, WallClock } from "./host/clock.ts";
import { SoftwareKey } from "./keys/software-key.ts";
import type { CardSigner } from "./pkcs11/card-signer.ts";

/** A key or certificate that the agent can use. */
export interface KeyringIdentity extends VerifiedKey {
  /** The blob that clients name it by: the plain key's, or the certificate's. */
  readonly blob: Buffer;
  readonly comment: string;
  readonly signer: SoftwareKey | CardSigner | Authenticator;
  readonly limits: Limits;
  /**
   * When the private key is removed, on the keyring's clock, in milliseconds; undefined for never.
   * Certificates that are attached to it go by then.
   */
  readonly keyExpires: number | undefined;
  /** When a certificate is dropped because it has ended, in seconds since 1970; undefined for never. */
  readonly dropped: bigint | undefined;
  /** The canonical path of the provider that serves it; undefined for a key in memory. */
  readonly provider: string | undefined;
}

/** What limits the use of an identity. */
export interface Limits {
  /** When it is removed, on the keyring's clock, in milliseconds; undefined for never. */
  readonly expires: number | undefined;
  /** Whether each use has to be confirmed. */
  readonly confirm: boolean;
  /** Where it may be used; empty for anywhere. */
  readonly destinations: readonly DestinationConstraint[];
}

/** Why an identity went. */
export type Removal = "request" | "lifetime" | "ended";

/**
 * A timer longer than this is set again: meanwhile the machine may have slept, while timers stand
 * still, and the time of day may have been set.
 */
const maxWait = 60_000;

/** Identities that OpenSSH's clients take in a list. */
const maxIdentities = 2048;

/** Bytes before the first identity of a list. */
const listHead = 5;

/** The identities of an agent. */
export class Keyring {
  readonly #clock: Clock;
  readonly #wallClock: WallClock;
  readonly #onRemoved: (identity: KeyringIdentity, removal: Removal) => void;
  #identities = new Map<string, KeyringIdentity>();
  /** What other providers have under the same blobs: listed once the one before it has gone. */
  readonly #others = new Map<string, readonly KeyringIdentity[]>();
  /**
   * Keys on cards without an identity, since their certificates have ended or were renewed: each by
   * the last of them. They are not listed and do not sign; a new certificate can be attached.
   */
  readonly #uncertified = new Set<KeyringIdentity>();
  #cancelTimer: (() => void) | undefined;

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
    this.#clock = clock;
    this.#wallClock = wallClock;
    this.#onRemoved = onRemoved;
  }

  /** How many identities there are. */
  get size(): number {
    return this.#identities.size;
  }

  /** All identities, in order. */
  identities(): IterableIterator<KeyringIdentity> {
    return this.#identities.values();
  }

  /** The identity that goes by a key blob or certificate blob. */
  find(blob: Uint8Array): KeyringIdentity | undefined {
    return this.#identities.get(blobId(blob));
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
   * Whether all identities could still be listed, in a message and by OpenSSH's clients, once
   * identities came and others went. What waits behind another provider's counts too.
   */
  hasRoom(
    added: readonly KeyringIdentity[],
    isGone: (identity: KeyringIdentity) => boolean,
  ): boolean {
    const sizes = new Map<string, number>();
    const count = ({ blob, comment }: KeyringIdentity) => {
      const name = blobId(blob);
      const size = 8 + blob.length + encodeText(comment).length;
      sizes.set(name, Math.max(size, sizes.get(name) ?? 0));
    };
    for (const identity of this.#all()) if (!isGone(identity)) count(identity);
    added.forEach(count);
    const total = [...sizes.values()].reduce((sum, size) => sum + size, listHead);
    return sizes.size <= maxIdentities && total <= maxFrameLength;
  }

  /**
   * Puts a certificate before another identity, in the place of those that it replaces, also of
   * what other providers have under their blobs. Clients
   * offer identities in this order, and a certificate is what a server rather wants.
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
    const removed: KeyringIdentity[] = [];
    const reordered = new Map<string, KeyringIdentity>();
    for (const [otherName, other] of this.#identities) {
      const isPlace = before === undefined ? gone.has(other) : other === before;
      if (isPlace && !reordered.has(name)) reordered.set(name, identity);
      if (gone.has(other)) removed.push(...this.#at(otherName));
      else if (other !== identity) reordered.set(otherName, other);
    }
    if (!reordered.has(name)) reordered.set(name, identity);
    this.#identities = reordered;
    for (const other of this.#others.keys()) if (!reordered.has(other)) this.#others.delete(other);
    this.#forget(gone);
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
    const all = [...this.#identities.keys()].flatMap((name) => this.#at(name));
    return all.filter(({ provider }) => provider === path);
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
    const all = [...this.#all()];
    this.#identities.clear();
    this.#others.clear();
    this.#uncertified.clear();
    this.#forget(all);
    this.#schedule();
  }

  /** Removes what a condition holds for; another provider's identity takes the place. */
  #removeWhere(isGone: (identity: KeyringIdentity) => boolean): KeyringIdentity[] {
    const removed: KeyringIdentity[] = [];
    for (const name of [...this.#identities.keys()]) {
      const all = this.#at(name);
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
    const listed = this.#identities.get(name);
    return listed === undefined ? [] : [listed, ...(this.#others.get(name) ?? [])];
  }

  #put(name: string, identities: readonly KeyringIdentity[]): void {
    const gone = this.#at(name).filter((known) => !identities.includes(known));
    const [listed, ...others] = identities;
    if (listed === undefined) this.#identities.delete(name);
    else this.#identities.set(name, listed);
    if (others.length > 0) this.#others.set(name, others);
    else this.#others.delete(name);
    this.#forget(gone);
  }

  /** Has the keys in memory of identities that have gone given up, but for those of others too. */
  #forget(gone: Iterable<KeyringIdentity>): void {
    const keys = new Set<SoftwareKey>();
    for (const { signer } of gone) if (signer instanceof SoftwareKey) keys.add(signer);
    if (keys.size === 0) return;
    for (const { signer } of this.#all()) if (signer instanceof SoftwareKey) keys.delete(signer);
    for (const key of keys) key.forget();
  }

  /** Keeps the keys on cards that would be without an identity. */
  #keepKeys(removed: readonly KeyringIdentity[]): void {
    for (const one of removed) {
      if (one.provider === undefined) continue;
      const isHeld = [...this.#held()].some((other) => isSameKey(other, one));
      if (!isHeld) this.#uncertified.add(one);
    }
  }

  /** Sets the one timer for what ends first. */
  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    const [now, wallNow] = [this.#clock.now(), this.#wallClock()];
    let first: number | undefined;
    const note = (wait: number) => {
      first = Math.min(first ?? wait, wait);
    };
    for (const { limits, dropped } of this.#all()) {
      if (limits.expires !== undefined) note(limits.expires - now);
      if (dropped !== undefined) note(Number(dropped - wallNow) * 1000);
    }
    for (const { keyExpires } of this.#uncertified) {
      if (keyExpires !== undefined) note(keyExpires - now);
    }
    if (first === undefined) return;
    const wait = Math.min(Math.max(first, 0), maxWait);
    this.#cancelTimer = this.#clock.after(wait, () => this.#expire());
  }

  #expire(): void {
    const [now, wallNow] = [this.#clock.now(), this.#wallClock()];
    const isPast = (time: number | undefined) => time !== undefined && time <= now;
    const hasEnded = ({ certificate }: KeyringIdentity) =>
      certificate !== undefined && certificate.validBefore <= wallNow;
    const removed = this.#removeWhere(
      ({ limits, dropped }) =>
        isPast(limits.expires) || (dropped !== undefined && dropped <= wallNow),
    );
    // Nobody who lets a certificate end wants to type the card's PIN for the next one.
    this.#keepKeys(removed.filter((one) => hasEnded(one) && !isPast(one.keyExpires)));
    const expired = [...this.#uncertified].filter(({ keyExpires }) => isPast(keyExpires));
    for (const one of expired) this.#uncertified.delete(one);
    for (const one of removed) this.#onRemoved(one, hasEnded(one) ? "ended" : "lifetime");
    for (const one of expired) this.#onRemoved(one, "lifetime");
    this.#schedule();
  }

  /** All that may hold a private key, the listed ones first. */
  *#held(): Generator<KeyringIdentity> {
    yield* this.#all();
    yield* this.#uncertified;
  }

  *#all(): Generator<KeyringIdentity> {
    yield* this.#identities.values();
    for (const others of this.#others.values()) yield* others;
  }
}

function isSameKey(one: KeyringIdentity, other: KeyringIdentity): boolean {
  return one.provider === other.provider && one.keyBlob.equals(other.keyBlob);
}

/** A blob as the key of a map: one character per byte. */
export function blobId(blob: Uint8Array): string {
  return Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength).toString("latin1");
}
