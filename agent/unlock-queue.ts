/**
 * The queue of unlock attempts: their order, and the delays after failures.
 *
 * Failures are rate-limited over all connections and processes together, but a process that has not
 * failed yet does not wait behind those that have. A remote client counts as one process, the ssh that
 * forwards it, however many connections it opens.
 */
import type { Clock } from "./host/clock.ts";
import type { PeerCredentials } from "./host/kernel.ts";

/** The connection that an attempt comes from. */
export interface UnlockClient {
  readonly peer: PeerCredentials | undefined;
  readonly isClosed: boolean;
}

/** A passphrase to be verified. */
export interface Attempt {
  readonly client: UnlockClient;
  readonly passphrase: Buffer;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** The delay after a failure, in milliseconds: one step more for each failure in a row. */
const delayStep = 100;
const maxDelay = 10_000;
/** The part of a delay that processes without a failure wait for too. */
const maxSharedDelay = 1_000;

/** Processes whose failures are remembered; the oldest are forgotten first. */
const maxProcesses = 10_000;

/** The queued attempts, and the failures so far. */
export class UnlockQueue {
  readonly #clock: Clock;
  readonly #onReady: () => void;
  #waiting: Attempt[] = [];
  #failures = 0;
  #byProcess = new Map<number | undefined, number>();
  #byConnection = new WeakMap<UnlockClient, number>();
  /** Current delays for all processes, and for those that have failed. */
  #sharedDelays = 0;
  #delays = 0;
  #isNewestFirst = true;

  /** @param onReady called when a delay ends, so that `take` may return an attempt again */
  constructor(clock: Clock, onReady: () => void) {
    this.#clock = clock;
    this.#onReady = onReady;
  }

  add(attempt: Attempt): void {
    this.#waiting.push(attempt);
  }

  /** Removes the attempts that match a predicate, and returns them. */
  remove(matches: (attempt: Attempt) => boolean): Attempt[] {
    const removed = this.#waiting.filter(matches);
    if (removed.length > 0) this.#waiting = this.#waiting.filter((attempt) => !matches(attempt));
    return removed;
  }

  /**
   * Takes the next attempt, if one may be verified now: that of the process with the fewest failures,
   * then of the connection with the fewest. Ties go to the newest and to the oldest attempt in turn, so
   * a new attempt does not wait for thousands, and an old one does not starve.
   */
  take(): Attempt | undefined {
    if (this.#sharedDelays > 0) return undefined;
    let first: Attempt | undefined;
    for (const attempt of this.#waiting) {
      const order = first === undefined ? -1 : this.#compare(attempt, first);
      if (order < 0 || (order === 0 && this.#isNewestFirst)) first = attempt;
    }
    if (first === undefined) return undefined;
    if (this.#delays > 0 && this.#processFailures(first) > 0) return undefined;
    this.#isNewestFirst = !this.#isNewestFirst;
    this.#waiting.splice(this.#waiting.indexOf(first), 1);
    return first;
  }

  /** Records that an attempt has failed; resolves when its client may be answered. */
  noteFailure({ client }: Attempt): Promise<void> {
    this.#failures++;
    const process = client.peer?.pid;
    const failures = (this.#byProcess.get(process) ?? 0) + 1;
    this.#byProcess.delete(process);
    this.#byProcess.set(process, failures);
    const [oldest] = this.#byProcess.keys();
    if (this.#byProcess.size > maxProcesses) this.#byProcess.delete(oldest);
    this.#byConnection.set(client, (this.#byConnection.get(client) ?? 0) + 1);
    return this.#delay(Math.min(this.#failures * delayStep, maxDelay));
  }

  /** Forgets all failures: the agent was unlocked, or locked with a new passphrase. */
  reset(): void {
    this.#failures = 0;
    this.#byProcess = new Map();
    this.#byConnection = new WeakMap();
  }

  #delay(length: number): Promise<void> {
    const shared = Math.min(length, maxSharedDelay);
    this.#sharedDelays++;
    this.#delays++;
    return new Promise((resolve) => {
      const end = () => {
        this.#delays--;
        resolve();
        this.#onReady();
      };
      this.#clock.after(shared, () => {
        this.#sharedDelays--;
        if (shared === length) return end();
        this.#clock.after(length - shared, end);
        this.#onReady();
      });
    });
  }

  #compare(one: Attempt, other: Attempt): number {
    return (
      this.#processFailures(one) - this.#processFailures(other) ||
      (this.#byConnection.get(one.client) ?? 0) - (this.#byConnection.get(other.client) ?? 0)
    );
  }

  #processFailures({ client }: Attempt): number {
    return this.#byProcess.get(client.peer?.pid) ?? 0;
  }
}
