/**
 * Which certificates are renewed, and when: `ssh-agent -O renew`. A certificate is due when two thirds of
 * its time are over; failures are tried again later and later.
 */
import {
  forever,
  parseKeyOrCertificate,
  type VerifiedCertificate,
} from "../../protocol/certificate.ts";
import type { RenewalDescription } from "../../protocol/extensions/list-renewals.ts";
import { blobId } from "../../protocol/public-key.ts";
import { EarliestTimer } from "../earliest-timer.ts";
import type { Clock, WallClock } from "../host/clock.ts";
import type { KeyringIdentity } from "../identity.ts";
import type { Keyring } from "../keyring.ts";
import type { AgentLock } from "../lock.ts";
import type { UpstreamList } from "../upstream/upstream-connection.ts";

/** Milliseconds between tries: the first, doubled after each further failure, and the longest. */
const firstWait = 10_000;
const longestWait = 600_000;

/** The least milliseconds from a success to the next run. */
const leastWait = 1000;

/** Milliseconds until a key without a certificate is tried: `ssh-add` adds the certificate after the key. */
const certificateWait = 1000;

/** Milliseconds that a signature by an expired certificate waits for the program. */
const signatureWait = 3000;

/** The most programs at a time. */
const maxRuns = 4;

/** A key to get a certificate for. */
export interface RenewableKey {
  /** The plain key's blob. */
  readonly keyBlob: Buffer;
  readonly comment: string;
  /** The socket of the upstream agent that holds it; undefined for a key that is held here. */
  readonly upstream: string | undefined;
  /** The certificate to renew, which the keyring may have dropped; undefined if it never had one. */
  readonly older: CertifiedIdentity | undefined;
}

/** The identity of a certificate. */
export type CertifiedIdentity = KeyringIdentity & { readonly certificate: VerifiedCertificate };

/** What the renewals of an agent are made of. */
export interface RenewalParts {
  /** `-O renew-all`: also keys that never had a certificate. */
  readonly all: boolean;
  /**
   * Gets a certificate and attaches it.
   * @param signal aborted when the key is gone
   * @returns the blob of the certificate
   * @throws an error whose message is a sentence for the user
   */
  readonly renew: (key: RenewableKey, signal: AbortSignal) => Promise<Buffer>;
}

/** What renewals need of their agent. */
interface AgentParts {
  readonly keyring: Keyring;
  readonly lock: AgentLock;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly log: (line: string) => void;
}

/** A run of the program. */
interface Run {
  readonly abort: AbortController;
  readonly ended: Promise<void>;
}

/** The state of a key's renewal. */
interface Renewal {
  readonly key: RenewableKey;
  /** When it is due, in seconds since 1970. */
  readonly due: bigint;
  /** When it may be tried, on the clock. */
  notBefore: number;
  /** How long the next failure waits, in milliseconds. */
  wait: number;
  /** In seconds since 1970; 0 for never. */
  lastTry: bigint;
  lastError: string;
  run: Run | undefined;
  /** Whether it has been renewed by a certificate that does not supersede it. */
  isDone: boolean;
}

/** The renewals of an agent. Without the option it has none. */
export class Renewals {
  readonly #parts: RenewalParts | undefined;
  readonly #agent: AgentParts;
  readonly #timer: EarliestTimer;
  /** By the blob ID of the certificate or, if it never had one, of the key. */
  readonly #renewals = new Map<string, Renewal>();
  /** The plain keys, by blob ID, for which the program runs. */
  readonly #running = new Set<string>();

  constructor(parts: RenewalParts | undefined, agent: AgentParts) {
    this.#parts = parts;
    this.#agent = agent;
    this.#timer = new EarliestTimer(agent.clock, agent.wallClock, () => this.catchUp());
  }

  /** Follows a change of the keyring. */
  update(): void {
    if (this.#parts === undefined) return;
    const listed = new Set<string>();
    const certified = new Set<string>();
    const plain: KeyringIdentity[] = [];
    for (const identity of this.#agent.keyring.all()) {
      if (identity.isRemote) continue;
      const id = blobId(identity.blob);
      if (isRenewable(identity)) {
        listed.add(id);
        if (!this.#renewals.has(id)) this.#addCertificate(id, identity);
      }
      if (identity.certificate === undefined) plain.push(identity);
      else certified.add(blobId(identity.keyBlob));
    }
    if (this.#parts.all) for (const id of this.#addKeys(plain, certified)) listed.add(id);
    for (const [id, { key }] of this.#renewals) {
      if (!listed.has(id) && !this.#isUsable(key, certified)) this.#delete(id);
    }
    this.#schedule();
  }

  /** With `-O renew-all`, notes the keys that upstream agents list to a client. */
  noteUpstream(identities: UpstreamList): void {
    if (this.#parts?.all !== true) return;
    const known = new Set(Array.from(this.#renewals.values(), keyIdOf));
    for (const { keyBlob } of this.#agent.keyring.all()) known.add(blobId(keyBlob));
    const parsed = Array.from(identities.values(), (one) => ({
      ...one,
      ...parseKeyOrCertificate(one.keyBlob),
    }));
    for (const { certificate, keyBlob } of parsed) if (certificate) known.add(blobId(keyBlob));
    for (const { key: isKnownType, keyBlob, comment, connection } of parsed) {
      const id = blobId(keyBlob);
      if (isKnownType === undefined || known.has(id)) continue;
      const upstream = connection.upstream.path;
      this.#add(id, { keyBlob, comment, upstream, older: undefined }, 0n, 0);
    }
    this.#schedule();
  }

  /** Ends the renewal of a certificate, or of an upstream's key, that a client removes. */
  forget(blob: Buffer): void {
    this.#delete(blobId(blob));
    for (const [id, { key }] of this.#renewals) {
      if (key.upstream !== undefined && key.keyBlob.equals(blob)) this.#delete(id);
    }
  }

  /** Ends all renewals. */
  clear(): void {
    for (const id of this.#renewals.keys()) this.#delete(id);
  }

  /** Runs the program for what is due, and sets the timer; called also after unlocking. */
  catchUp(): void {
    this.runDue();
    this.#schedule();
  }

  /** Runs the program for what is due; called for each list and signature. */
  runDue(): void {
    if (this.#renewals.size === 0 || this.#agent.lock.isLocked) return;
    const [now, wallNow] = [this.#agent.clock.now(), this.#agent.wallClock()];
    for (const renewal of this.#renewals.values()) {
      if (this.#running.size >= maxRuns) break;
      const isDue = renewal.due <= wallNow && renewal.notBefore <= now;
      if (isDue && this.#isWaiting(renewal)) this.#start(renewal);
    }
  }

  /**
   * Runs the program for what is due.
   * @returns for an expired certificate that is being renewed, the end of the run, at most three seconds
   */
  runFor(blob: Buffer): Promise<void> | undefined {
    if (this.#renewals.size === 0) return undefined;
    this.runDue();
    const { key, run } = this.#renewals.get(blobId(blob)) ?? {};
    const end = key?.older?.certificate.validBefore;
    if (run === undefined || end === undefined || end > this.#agent.wallClock()) return undefined;
    return new Promise((resolve) => {
      const cancel = this.#agent.clock.after(signatureWait, resolve);
      void run.ended.then(() => {
        cancel();
        resolve();
      });
    });
  }

  /** Describes the renewals for `list-renewals@cardagent.alt`. */
  describe(): RenewalDescription[] {
    const [now, wallNow] = [this.#agent.clock.now(), this.#agent.wallClock()];
    return [...this.#renewals.values()]
      .filter(({ isDone }) => !isDone)
      .map(({ key, due, notBefore, lastTry, lastError, run }) => {
        const wait = BigInt(Math.max(0, Math.ceil((notBefore - now) / 1000)));
        const nextTry = wallNow + wait > due && (wait > 0n || due === 0n) ? wallNow + wait : due;
        return {
          keyBlob: key.keyBlob,
          certificate: key.older?.blob ?? Buffer.alloc(0),
          state: run === undefined ? "scheduled" : "running",
          lastTry,
          nextTry: run === undefined ? nextTry : 0n,
          lastError,
        };
      });
  }

  #addCertificate(id: string, identity: CertifiedIdentity): void {
    const { keyBlob, comment, upstream, certificate } = identity;
    // A new certificate takes the place of one that was dropped, and of the key's own renewal.
    for (const [other, { key }] of this.#renewals) {
      const isSameKey = key.keyBlob.equals(keyBlob);
      const older = key.older;
      const isSameCa = older === undefined || older.certificate.caKey.equals(certificate.caKey);
      const isHeld = older !== undefined && this.#agent.keyring.find(older.blob) !== undefined;
      if (isSameKey && isSameCa && !isHeld) this.#delete(other);
    }
    const { validAfter, validBefore } = certificate;
    const due = validAfter + ((validBefore - validAfter) * 2n) / 3n;
    this.#add(id, { keyBlob, comment, upstream, older: identity }, due, 0);
  }

  /** Adds keys that have no certificate. @returns the blob IDs of all of them */
  #addKeys(plain: readonly KeyringIdentity[], certified: ReadonlySet<string>): string[] {
    const known = new Set(Array.from(this.#renewals.values(), keyIdOf));
    const without = plain.filter(({ keyBlob }) => !certified.has(blobId(keyBlob)));
    const notBefore = this.#agent.clock.now() + certificateWait;
    return without.map(({ keyBlob, comment, upstream }) => {
      const id = blobId(keyBlob);
      const key = { keyBlob, comment, upstream, older: undefined };
      if (!known.has(id)) this.#add(id, key, 0n, notBefore);
      return id;
    });
  }

  #add(id: string, key: RenewableKey, due: bigint, notBefore: number): void {
    this.#renewals.set(id, {
      key,
      due,
      notBefore,
      wait: firstWait,
      lastTry: 0n,
      lastError: "",
      run: undefined,
      isDone: false,
    });
  }

  /** Whether a key that the keyring no longer lists with its certificate can still be used. */
  #isUsable({ keyBlob, upstream, older }: RenewableKey, certified: ReadonlySet<string>): boolean {
    if (older === undefined) return upstream !== undefined && !certified.has(blobId(keyBlob));
    const { keyExpires, certificate } = older;
    if (certificate.validBefore > this.#agent.wallClock()) return false; // superseded or removed
    if (keyExpires !== undefined && keyExpires <= this.#agent.clock.now()) return false;
    return upstream !== undefined || this.#agent.keyring.withPrivateKey(keyBlob).length > 0;
  }

  #delete(id: string): void {
    this.#renewals.get(id)?.run?.abort.abort();
    this.#renewals.delete(id);
  }

  #start(renewal: Renewal): void {
    const abort = new AbortController();
    const id = keyIdOf(renewal);
    this.#running.add(id);
    renewal.lastTry = this.#agent.wallClock();
    const ended = this.#renew(renewal, abort.signal).finally(() => {
      renewal.run = undefined;
      this.#running.delete(id);
      this.catchUp();
    });
    renewal.run = { abort, ended };
  }

  async #renew(renewal: Renewal, signal: AbortSignal): Promise<void> {
    try {
      const blob = await this.#parts?.renew(renewal.key, signal);
      if (blob !== undefined) this.#noteSuccess(renewal, blobId(blob));
    } catch (error) {
      if (!signal.aborted) this.#noteFailure(renewal, error);
    }
  }

  /** Schedules the new certificate, in the place of the older one. */
  #noteSuccess(renewal: Renewal, id: string): void {
    renewal.isDone = true;
    const renewed = this.#renewals.get(id);
    if (renewed === undefined) return; // for ever valid, or removed at once
    const { clock, wallClock } = this.#agent;
    renewed.lastTry = renewal.lastTry;
    // One that was dated back so far that it would be due at once has two thirds of what is left.
    const left = Number((renewed.key.older?.certificate.validBefore ?? 0n) - wallClock());
    if (renewed.due <= wallClock()) {
      renewed.notBefore = clock.now() + Math.max(leastWait, Math.ceil((left * 2000) / 3));
    }
  }

  #noteFailure(renewal: Renewal, error: unknown): void {
    const { lock, clock, log } = this.#agent;
    if (lock.isLocked) return; // it is tried again after unlocking
    renewal.lastError = error instanceof Error ? error.message : "unknown error";
    renewal.notBefore = clock.now() + renewal.wait;
    log(`${nameOf(renewal.key)}: next try in ${renewal.wait / 1000} s. ${renewal.lastError}`);
    renewal.wait = Math.min(renewal.wait * 2, longestWait);
  }

  /** Sets the timer for the next try. */
  #schedule(): void {
    const isFull = this.#running.size >= maxRuns;
    const waits = !isFull && !this.#agent.lock.isLocked;
    const waiting = [...this.#renewals.values()].filter((one) => waits && this.#isWaiting(one));
    const now = this.#agent.clock.now();
    this.#timer.set(
      waiting.map(({ due, notBefore }) => (notBefore > now ? { clock: notBefore } : { wall: due })),
    );
  }

  /** Whether it waits for nothing but its time. */
  #isWaiting(renewal: Renewal): boolean {
    return !renewal.isDone && !this.#running.has(keyIdOf(renewal));
  }
}

/** The name of a renewal in the log. */
export function nameOf({ comment }: RenewableKey): string {
  return `renewal of ${JSON.stringify(comment)}`;
}

function keyIdOf({ key }: Renewal): string {
  return blobId(key.keyBlob);
}

/** Whether an identity has a user certificate that ends. */
function isRenewable(identity: KeyringIdentity): identity is CertifiedIdentity {
  const { certificate } = identity;
  return certificate?.type === "user" && certificate.validBefore !== forever;
}
