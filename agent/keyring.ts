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

/** A key or certificate that the agent can use. */
export interface KeyringIdentity {
  /** The blob that clients name it by: the plain key's, or the certificate's. */
  readonly blob: Buffer;
  readonly comment: string;
  /** The plain key, and its blob. */
  readonly key: PublicKey;
  readonly keyBlob: Buffer;
  readonly certificate: Certificate | undefined;
  readonly signer: Signer | Authenticator;
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
    return this.#identities.get(mapKey(blob));
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

  /** Adds an identity at the end, or puts it in the place of the one with the same blob. */
  add(identity: KeyringIdentity): void {
    this.#identities.set(mapKey(identity.blob), identity);
    this.#schedule();
  }

  /**
   * Puts a certificate before another identity, in the place of those that it replaces. Clients
   * offer identities in this order, and a certificate is what a server rather wants.
   */
  addCertificate(
    certificate: KeyringIdentity,
    before: KeyringIdentity,
    replaced: ReadonlySet<KeyringIdentity>,
  ): void {
    const name = mapKey(certificate.blob);
    const same = this.#identities.get(name);
    const gone = new Set(same === undefined ? replaced : [...replaced, same]);
    const reordered = new Map<string, KeyringIdentity>();
    for (const [otherName, other] of this.#identities) {
      const isPlace = gone.size === 0 ? other === before : gone.has(other);
      if (isPlace && !reordered.has(name)) reordered.set(name, certificate);
      if (!gone.has(other)) reordered.set(otherName, other);
    }
    this.#identities = reordered;
    this.#schedule();
  }

  /** Removes the identity that goes by a blob; false when there is none. */
  remove(blob: Uint8Array): boolean {
    const identity = this.find(blob);
    if (identity === undefined) return false;
    this.#identities.delete(mapKey(blob));
    this.#onRemoved(identity);
    return true;
  }

  /** Removes all identities of a provider, without telling `onRemoved`. */
  removeProvider(path: string): KeyringIdentity[] {
    const removed: KeyringIdentity[] = [];
    for (const [name, identity] of this.#identities) {
      if (identity.provider !== path) continue;
      this.#identities.delete(name);
      removed.push(identity);
    }
    return removed;
  }

  /** Removes all identities, without telling `onRemoved`. */
  clear(): void {
    this.#identities.clear();
    this.#schedule();
  }

  /** The blobs that a provider serves, in order. */
  blobsOfProvider(path: string): Buffer[] {
    const blobs: Buffer[] = [];
    for (const identity of this.#identities.values()) {
      if (identity.provider === path) blobs.push(identity.blob);
    }
    return blobs;
  }

  /** Sets the one timer for the identity that ends first. */
  #schedule(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    let first: number | undefined;
    for (const { limits } of this.#identities.values()) {
      if (limits.expires !== undefined) first = Math.min(first ?? limits.expires, limits.expires);
    }
    if (first === undefined) return;
    const wait = Math.min(Math.max(first - this.#clock.now(), 0), longestWait);
    this.#cancelTimer = this.#clock.after(wait, () => this.#expire());
  }

  #expire(): void {
    const now = this.#clock.now();
    for (const identity of [...this.#identities.values()]) {
      const { expires } = identity.limits;
      if (expires !== undefined && expires <= now) this.remove(identity.blob);
    }
    this.#schedule();
  }
}

/** Blobs as the keys of a map: one character per byte. */
function mapKey(blob: Uint8Array): string {
  return Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength).toString("latin1");
}
