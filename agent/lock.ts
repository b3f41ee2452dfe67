/**
 * The agent's lock (RFC 9987, section 3.7). The passphrase is kept only as a scrypt hash.
 *
 * Attempts to unlock are verified one at a time, and each failure delays the next answer; see
 * unlock-queue.ts.
 */
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { Failure } from "../protocol/failure.ts";
import type { Clock } from "./host/clock.ts";
import { type Attempt, type UnlockClient, UnlockQueue } from "./unlock-queue.ts";

const hashLength = 32;
const cost = { N: 2 ** 14, r: 8, p: 1 } as const;

interface Secret {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** The lock of an agent. */
export class AgentLock {
  readonly #queue: UnlockQueue;
  #secret: Secret | undefined;
  #isVerifying = false;
  #locking: Promise<unknown> = Promise.resolve();

  constructor(clock: Clock) {
    this.#queue = new UnlockQueue(clock, () => this.#verifyNext());
  }

  get isLocked(): boolean {
    return this.#secret !== undefined;
  }

  /** For handlers that have awaited something: the agent may have been locked since. @throws {Failure} locked */
  throwIfLocked(): void {
    if (this.isLocked) throw new Failure("locked", "The agent was locked meanwhile.");
  }

  /**
   * Locks the agent. The caller overwrites the passphrase once the promise has settled.
   * @throws {Failure} locked, if the agent is locked already; malformed, for an empty passphrase
   */
  lock(passphrase: Buffer): Promise<void> {
    const locked = this.#locking.then(async () => {
      if (passphrase.length === 0) {
        throw new Failure("malformed", "The passphrase is empty.", "Type a passphrase.");
      }
      if (this.isLocked) throw new Failure("locked", "The agent is locked already.");
      const salt = randomBytes(16);
      this.#secret = { salt, hash: await derive(passphrase, salt) };
      this.#queue.reset();
    });
    this.#locking = locked.catch(() => undefined);
    return locked;
  }

  /**
   * Unlocks the agent. The caller overwrites the passphrase once the promise has settled.
   * @param client the connection that sent the passphrase
   * @throws {Failure} locked, for a wrong passphrase; malformed, if the agent is not locked
   */
  unlock(
    passphrase: Buffer,
    client: UnlockClient = { peer: undefined, isClosed: false },
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#queue.add({ client, passphrase, resolve, reject });
      this.#verifyNext();
    });
  }

  #verifyNext(): void {
    if (this.#isVerifying) return;
    for (const attempt of this.#queue.remove(({ client }) => client.isClosed)) {
      attempt.reject(new Failure("locked", "The connection was closed meanwhile."));
    }
    const secret = this.#secret;
    if (secret === undefined) {
      for (const attempt of this.#queue.remove(() => true)) attempt.reject(notLocked());
      return;
    }
    const attempt = this.#queue.take();
    if (attempt === undefined) return;
    this.#isVerifying = true;
    this.#verify(attempt, secret).then(attempt.resolve, attempt.reject);
  }

  async #verify(attempt: Attempt, { salt, hash }: Secret): Promise<void> {
    let isCorrect: boolean;
    try {
      const derived = await derive(attempt.passphrase, salt);
      isCorrect = timingSafeEqual(derived, hash);
      derived.fill(0);
    } finally {
      this.#isVerifying = false;
    }
    if (isCorrect) {
      hash.fill(0);
      this.#secret = undefined;
      this.#queue.reset();
      return this.#verifyNext();
    }
    await this.#queue.noteFailure(attempt);
    throw new Failure(
      "locked",
      "Wrong passphrase.",
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
