/**
 * The agent's lock (RFC 9987, section 3.7). The passphrase is kept only as a scrypt hash.
 *
 * Attempts to unlock are taken one after another, over all connections, and each failure makes the
 * next answer slower: guessing on many connections at once gains nothing.
 */
import { randomBytes, scrypt, timingSafeEqual } from "node:crypto";
import { Failure } from "../protocol/failure.ts";
import type { Clock } from "./host/clock.ts";

const hashLength = 32;
const cost = { N: 2 ** 14, r: 8, p: 1 } as const;

/** Milliseconds that each failure in a row adds, and the most that they add up to. */
const delayStep = 100;
const longestDelay = 10_000;

interface Secret {
  readonly salt: Buffer;
  readonly hash: Buffer;
}

/** Whether an agent is locked, and the way out. */
export class AgentLock {
  readonly #clock: Clock;
  #secret: Secret | undefined;
  #failures = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get isLocked(): boolean {
    return this.#secret !== undefined;
  }

  /** For what was waited for, which a lock may have overtaken. @throws {Failure} locked */
  refuseOvertaken(): void {
    if (this.isLocked) throw new Failure("locked", "The agent was locked meanwhile.");
  }

  /**
   * Locks. The passphrase is the caller's to overwrite once this has settled.
   * @throws {Failure} locked, when it is already; malformed, for an empty passphrase
   */
  lock(passphrase: Buffer): Promise<void> {
    return this.#inTurn(async () => {
      if (passphrase.length === 0) {
        throw new Failure("malformed", "A lock needs a passphrase.", "Try again, and type one.");
      }
      if (this.isLocked) throw new Failure("locked", "The agent is locked already.");
      const salt = randomBytes(16);
      this.#secret = { salt, hash: await derive(passphrase, salt) };
      this.#failures = 0;
    });
  }

  /**
   * Unlocks. The passphrase is the caller's to overwrite once this has settled.
   * @throws {Failure} locked, when the passphrase is wrong; malformed, when nothing is locked
   */
  unlock(passphrase: Buffer): Promise<void> {
    return this.#inTurn(async () => {
      const secret = this.#secret;
      if (secret === undefined) {
        throw new Failure("malformed", "The agent is not locked.", "There is nothing to unlock.");
      }
      const hash = await derive(passphrase, secret.salt);
      const isRight = timingSafeEqual(hash, secret.hash);
      hash.fill(0);
      if (!isRight) {
        this.#failures++;
        await this.#wait(Math.min(this.#failures * delayStep, longestDelay));
        throw new Failure(
          "locked",
          "The passphrase is not the one that locked the agent.",
          "Try again. Each wrong passphrase makes the next answer slower.",
        );
      }
      secret.hash.fill(0);
      this.#secret = undefined;
      this.#failures = 0;
    });
  }

  #inTurn<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(action);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #wait(delay: number): Promise<void> {
    return new Promise((resolve) => {
      this.#clock.after(delay, resolve);
    });
  }
}

function derive(passphrase: Buffer, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    scrypt(passphrase, salt, hashLength, cost, (error, hash) => {
      if (error) reject(error);
      else resolve(hash);
    });
  });
}
