/**
 * In which order attempts to unlock are verified, and when.
 *
 * Guesses are slowed down in all, over all connections and processes; whoever has not guessed yet
 * does not wait behind those who have. A client on another machine has one process here, the ssh that
 * it is forwarded by, however many connections it makes.
 */
import type { Clock } from "./host/clock.ts";
import type { PeerCredentials } from "./host/libc.ts";

/** Who tries to unlock: a connection. */
export interface UnlockClient {
  readonly peer: PeerCredentials | undefined;
  readonly isClosed: boolean;
}

/** A passphrase that waits to be verified. */
export interface Attempt {
  readonly client: UnlockClient;
  readonly passphrase: Buffer;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
}

/** Milliseconds that each failure in a row adds, and the most that they add up to. */
const delayStep = 100;
const maxDelay = 10_000;
/** The most for the first attempt of a process. */
const maxFirstDelay = 1_000;

/** Processes that have failed and are remembered; the others are forgotten, the oldest first. */
const maxProcesses = 10_000;

/** The attempts that wait, and what has failed before. */
export class UnlockTurns {
  readonly #clock: Clock;
  readonly #go: () => void;
  #waiting: Attempt[] = [];
  #failures = 0;
  #byProcess = new Map<number | undefined, number>();
  #byConnection = new WeakMap<UnlockClient, number>();
  /** Delays under way for everybody, and those for processes that have failed. */
  #delays = 0;
  #longDelays = 0;
  #isNewestFirst = true;

  /** @param go called when an attempt may have its turn after a delay */
  constructor(clock: Clock, go: () => void) {
    this.#clock = clock;
    this.#go = go;
  }

  add(attempt: Attempt): void {
    this.#waiting.push(attempt);
  }

  /** Takes out the attempts for which a condition holds. */
  remove(isGone: (attempt: Attempt) => boolean): Attempt[] {
    const gone = this.#waiting.filter(isGone);
    if (gone.length > 0) this.#waiting = this.#waiting.filter((attempt) => !isGone(attempt));
    return gone;
  }

  /**
   * Takes the attempt whose turn it is, if one may be verified now: of the process that has failed
   * least, on the connection that has failed least. Of several, the newest and the oldest one take
   * turns: the newest does not wait for thousands, and the oldest not for ever.
   */
  take(): Attempt | undefined {
    if (this.#delays > 0) return undefined;
    let first: Attempt | undefined;
    for (const attempt of this.#waiting) {
      const order = first === undefined ? -1 : this.#compare(attempt, first);
      if (order < 0 || (order === 0 && this.#isNewestFirst)) first = attempt;
    }
    if (first === undefined) return undefined;
    if (this.#longDelays > 0 && this.#processFailures(first) > 0) return undefined;
    this.#isNewestFirst = !this.#isNewestFirst;
    this.#waiting.splice(this.#waiting.indexOf(first), 1);
    return first;
  }

  /** Notes that an attempt has failed, and resolves when its client may be told. */
  noteFailure({ client }: Attempt): Promise<void> {
    this.#failures++;
    const process = client.peer?.pid;
    const ofProcess = (this.#byProcess.get(process) ?? 0) + 1;
    this.#byProcess.delete(process);
    this.#byProcess.set(process, ofProcess);
    const [oldest] = this.#byProcess.keys();
    if (this.#byProcess.size > maxProcesses) this.#byProcess.delete(oldest);
    this.#byConnection.set(client, (this.#byConnection.get(client) ?? 0) + 1);
    return this.#delay(Math.min(this.#failures * delayStep, maxDelay));
  }

  /** Forgets what has failed: the passphrase is another one, or not needed any more. */
  reset(): void {
    this.#failures = 0;
    this.#byProcess = new Map();
    this.#byConnection = new WeakMap();
  }

  #delay(length: number): Promise<void> {
    const first = Math.min(length, maxFirstDelay);
    this.#delays++;
    this.#longDelays++;
    return new Promise((resolve) => {
      const end = () => {
        this.#longDelays--;
        resolve();
        this.#go();
      };
      this.#clock.after(first, () => {
        this.#delays--;
        if (first === length) return end();
        this.#clock.after(length - first, end);
        this.#go();
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
