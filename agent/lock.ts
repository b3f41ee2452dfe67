/**
 * The agent's lock (RFC 9987, section 3.7). The passphrase is kept only as a scrypt hash.
 *
 * Attempts to unlock are verified one after another, over all connections, and each failure makes the
 * next answer slower; see unlock-turns.ts.
 */
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { Failure } from "../protocol/failure.ts";
import type { Clock } from "./host/clock.ts";
import { type Attempt, type UnlockClient, UnlockTurns } from "./unlock-turns.ts";

const hashLength = 32;
const cost = { N: 2 ** 14, r: 8, p: 1 } as const;

interface Secret {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** Whether an agent is locked, and the way out. */
export class AgentLock {
  readonly #turns: UnlockTurns;
  #secret: Secret | undefined;
  #isVerifying = false;
  #locking: Promise<unknown> = Promise.resolve();

  constructor(clock: Clock) {
    this.#turns = new UnlockTurns(clock, () => this.#verifyNext());
  }

  get isLocked(): boolean {
    return this.#secret !== undefined;
  }

  /** For what was waited for, which a lock may have overtaken. @throws {Failure} locked */
  throwIfLocked(): void {
    if (this.isLocked) throw new Failure("locked", "The agent was locked meanwhile.");
  }

  /**
   * Locks. The passphrase is the caller's to overwrite once this has settled.
   * @throws {Failure} locked, when it is already; malformed, for an empty passphrase
   */
  lock(passphrase: Buffer): Promise<void> {
    const locked = this.#locking.then(async () => {
      if (passphrase.length === 0) {
        throw new Failure("malformed", "A lock needs a passphrase.", "Try again, and type one.");
      }
      if (this.isLocked) throw new Failure("locked", "The agent is locked already.");
      const salt = randomBytes(16);
      this.#secret = { salt, hash: await derive(passphrase, salt) };
      this.#turns.reset();
    });
    this.#locking = locked.catch(() => undefined);
    return locked;
  }

  /**
   * Unlocks. The passphrase is the caller's to overwrite once this has settled.
   * @param client the connection that the passphrase came by
   * @throws {Failure} locked, when the passphrase is wrong; malformed, when nothing is locked
   */
  unlock(
    passphrase: Buffer,
    client: UnlockClient = { peer: undefined, isClosed: false },
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#turns.add({ client, passphrase, resolve, reject });
      this.#verifyNext();
    });
  }

  #verifyNext(): void {
    if (this.#isVerifying) return;
    for (const attempt of this.#turns.remove(({ client }) => client.isClosed)) {
      attempt.reject(new Failure("locked", "The connection was closed meanwhile."));
    }
    const secret = this.#secret;
    if (secret === undefined) {
      for (const attempt of this.#turns.remove(() => true)) attempt.reject(notLocked());
      return;
    }
    const attempt = this.#turns.take();
    if (attempt === undefined) return;
    this.#isVerifying = true;
    this.#verify(attempt, secret).then(attempt.resolve, attempt.reject);
  }

  async #verify(attempt: Attempt, { salt, hash }: Secret): Promise<void> {
    let isRight: boolean;
    try {
      const derived = await derive(attempt.passphrase, salt);
      isRight = timingSafeEqual(derived, hash);
      derived.fill(0);
    } finally {
      this.#isVerifying = false;
    }
    if (isRight) {
      hash.fill(0);
      this.#secret = undefined;
      this.#turns.reset();
      return this.#verifyNext();
    }
    await this.#turns.noteFailure(attempt);
    throw new Failure(
      "locked",
      "The passphrase is not the one that locked the agent.",
      "Try again. Each wrong passphrase makes the next answer slower.",
    );
  }
}

function notLocked(): Failure {
  return new Failure("malformed", "The agent is not locked.", "There is nothing to unlock.");
}

function derive(passphrase: Buffer, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, hashLength, cost, (error, hash) => {
      if (error) reject(error);
      else resolve(hash);
    });
  });
}
