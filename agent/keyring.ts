/**
 * The identities that the agent holds, in the order in which they came.
 *
 * An identity is found by its blob in constant time. Lifetimes are kept by one timer.
 */
import type { Certificate } from "../protocol/certificate.ts";
import type { DestinationConstraint } from "../protocol/constraints.ts";
import type { PublicKey } from "../protocol/public-key.ts";
import type { Authenticator } from "./fido/authenticator.ts";
import type { Clock } from "./host/clock.ts";
import type { Signer } from "./keys/software-key.ts";
import type { CardSigner } from "./pkcs11/card-signer.ts";

/** A key or certificate that the agent can use. */
export interface KeyringIdentity {
  /** The blob that clients name it by: the plain key's, or the certificate's. */
  readonly blob: Buffer;
  readonly comment: string;
  /** The plain key, and its blob. */
  readonly key: PublicKey;
  readonly keyBlob: Buffer;
  readonly certificate: Certificate | undefined;
  readonly signer: Signer | CardSigner | Authenticator;
  readonly limits: Limits;
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

/** A timer longer than this is set again: the clock may have gone on while the machine slept. */
const longestWait = 60_000;

/** The identities of an agent. */
export class Keyring {
  readonly #clock: Clock;
  readonly #onRemoved: (identity: KeyringIdentity) => void;
  #identities = new Map<string, KeyringIdentity>();
  /** What other providers have under the same blobs: listed once the one before it has gone. */
  readonly #others = new Map<string, readonly KeyringIdentity[]>();
  #cancelTimer: (() => void) | undefined;

  /**
   * @param clock what lifetimes are measured on
   * @param onRemoved told of each identity that goes by `remove` or because its time is over
   */
  constructor(clock: Clock, onRemoved: (identity: KeyringIdentity) => void) {
    this.#clock = clock;
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
    return this.#identities.get(nameOf(blob));
  }

  /** The identity that holds the private key of a plain key's blob: the key, else a certificate. */
  findPrivateKey(keyBlob: Buffer): KeyringIdentity | undefined {
    const plain = this.find(keyBlob);
    if (plain !== undefined) return plain;
    for (const identity of this.#identities.values()) {
      if (identity.keyBlob.equals(keyBlob)) return identity;
    }
    return undefined;
  }

  /**
   * Adds an identity that is no provider's at the end, or puts it in the place of the one with the
   * same blob. A provider's stays behind it, and takes the place when it goes.
   */
  add(identity: KeyringIdentity): void {
    const name = nameOf(identity.blob);
    const [known, ...others] = this.#at(name);
    this.#put(name, [identity, ...others, ...(known?.provider === undefined ? [] : [known])]);
    this.#schedule();
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
    const name = nameOf(certificate.blob);
    const same = this.#identities.get(name);
    const gone = new Set(same === undefined ? replaced : [...replaced, same]);
    const reordered = new Map<string, KeyringIdentity>();
    for (const [otherName, other] of this.#identities) {
      const isPlace = gone.size === 0 ? other === before : gone.has(other);
      if (isPlace && !reordered.has(name)) reordered.set(name, certificate);
      if (!gone.has(other)) reordered.set(otherName, other);
    }
    this.#identities = reordered;
    for (const other of this.#others.keys()) if (!reordered.has(other)) this.#others.delete(other);
    this.#schedule();
  }

  /** Removes the identity that goes by a blob, wherever it is from; false when there is none. */
  remove(blob: Uint8Array): boolean {
    const name = nameOf(blob);
    const gone = this.#at(name);
    this.#put(name, []);
    for (const one of gone) this.#onRemoved(one);
    return gone.length > 0;
  }

  /**
   * Removes identities of a provider, without telling `onRemoved`.
   * @param keys the names of the plain keys that go, with their certificates; undefined for all
   */
  removeProvider(path: string, keys?: ReadonlySet<string>): KeyringIdentity[] {
    return this.#removeWhere(
      ({ provider, keyBlob }) =>
        provider === path && (keys === undefined || keys.has(nameOf(keyBlob))),
    );
  }

  /** The identities of a provider, in order, also those that wait behind another one's. */
  ofProvider(path: string): KeyringIdentity[] {
    const all = [...this.#identities.keys()].flatMap((name) => this.#at(name));
    return all.filter(({ provider }) => provider === path);
  }

  /**
   * Puts identities in the place of those that a provider has, without telling `onRemoved`. Where
   * several providers have the same one, each keeps its place among them: whose limits hold is not
   * changed by loading a provider again.
   */
  exchangeProvider(path: string, identities: readonly KeyringIdentity[]): void {
    const isOwn = ({ provider }: KeyringIdentity) => provider === path;
    const names = new Set(identities.map(({ blob }) => nameOf(blob)));
    this.#removeWhere((one) => isOwn(one) && !names.has(nameOf(one.blob)));
    for (const identity of identities) {
      const name = nameOf(identity.blob);
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
    this.#identities.clear();
    this.#others.clear();
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

  #put(name: string, [listed, ...others]: readonly KeyringIdentity[]): void {
    if (listed === undefined) this.#identities.delete(name);
    else this.#identities.set(name, listed);
    if (others.length > 0) this.#others.set(name, others);
    else this.#others.delete(name);
  }

  /** Sets the one timer for the identity that ends first. */
  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    let first: number | undefined;
    for (const { limits } of this.#all()) {
      if (limits.expires !== undefined) first = Math.min(first ?? limits.expires, limits.expires);
    }
    if (first === undefined) return;
    const wait = Math.min(Math.max(first - this.#clock.now(), 0), longestWait);
    this.#cancelTimer = this.#clock.after(wait, () => this.#expire());
  }

  #expire(): void {
    const now = this.#clock.now();
    const removed = this.#removeWhere(({ limits: { expires } }) => {
      return expires !== undefined && expires <= now;
    });
    for (const identity of removed) this.#onRemoved(identity);
    this.#schedule();
  }

  *#all(): Generator<KeyringIdentity> {
    yield* this.#identities.values();
    for (const others of this.#others.values()) yield* others;
  }
}

/** A blob as the key of a map: one character per byte. */
export function nameOf(blob: Uint8Array): string {
  return Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength).toString("latin1");
}
