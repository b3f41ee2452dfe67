/** Questions for PINs: one at a time for a token, and one for all who wait for the same login. */
import type { Failure } from "../../protocol/failure.ts";
import { clientGone } from "../policy/prompts.ts";
import { isPinRefused } from "./pin-failures.ts";

/**
 * Asks for a PIN; undefined without an answer.
 * @param unwanted aborted, with `clientGone`, when nobody who waits for it is left
 */
type AskShared = (unwanted: AbortSignal) => Promise<Buffer | undefined>;

/** A question and its login, for all who wait for them. */
interface SharedLogin {
  readonly done: Promise<void>;
  readonly waiting: Waiting;
}

/** The questions about the tokens of one provider, each of which goes by a number. */
export class PinQuestions {
  readonly #logins = new Map<number, SharedLogin>();
  /** For each token, the last question; it resolves with the refusal of the PIN, if it was refused. */
  readonly #last = new Map<number, Promise<Failure | undefined>>();
  /** For each token, how many logins have ended, and the last of them. */
  readonly #ended = new Map<number, { readonly count: number; readonly login: Promise<void> }>();

  /** How many logins with a token have ended. */
  ended(token: number): number {
    return this.#ended.get(token)?.count ?? 0;
  }

  /**
   * Asks and uses the answer once, for all who call this for the token before that is done, and for
   * those who would have, had they learned earlier that they need it. The question is taken back
   * when all of them have gone.
   * @param since how many logins had ended when the caller had not learned it yet
   * @param missing why the PIN is asked for: thrown when there is no answer
   * @param gone aborted, with `clientGone`, when the caller does not wait any more
   * @throws {Failure} `missing`, `clientGone`, or what `ask` and `use` throw
   */
  async shared(
    token: number,
    since: number,
    missing: Failure,
    gone: AbortSignal,
    ask: AskShared,
    use: (pin: Buffer) => Promise<void>,
  ): Promise<void> {
    gone.throwIfAborted();
    const last = this.#ended.get(token);
    const known = this.#logins.get(token);
    if (known === undefined && last !== undefined && last.count > since) return last.login;
    const { done, waiting } = known ?? this.#begin(token, missing, ask, use);
    const leave = waiting.join(gone);
    try {
      await done;
    } catch (error) {
      if (error !== clientGone || gone.aborted) throw error;
      // The question of others was being taken back when this one came.
      return this.shared(token, since, missing, gone, ask, use);
    } finally {
      leave();
    }
  }

  #begin(
    token: number,
    missing: Failure,
    ask: AskShared,
    use: (pin: Buffer) => Promise<void>,
  ): SharedLogin {
    const waiting = new Waiting();
    const login = this.alone(token, missing, () => ask(waiting.unwanted), use);
    const ended = () => {
      this.#logins.delete(token);
      this.#ended.set(token, { count: this.ended(token) + 1, login });
    };
    const failed = (error: unknown) => {
      // One that was taken back tells others nothing.
      if (error === clientGone) this.#logins.delete(token);
      else ended();
      throw error;
    };
    const shared = { done: login.then(ended, failed), waiting };
    this.#logins.set(token, shared);
    return shared;
  }

  /**
   * Asks and uses the answer, after those who came before: nobody answers two questions at once.
   * The PIN is overwritten afterwards. When a PIN is refused, those who have waited are refused with
   * it: a program that answers with a wrong one would lock the card before anybody knows.
   * @throws {Failure} `missing`, or what `ask` and `use` throw, or threw for the one before
   */
  alone<Result>(
    token: number,
    missing: Failure,
    ask: () => Promise<Buffer | undefined>,
    use: (pin: Buffer) => Promise<Result>,
  ): Promise<Result> {
    let refusal: Failure | undefined;
    const before = this.#last.get(token) ?? Promise.resolve(undefined);
    const result = before.then(async (refused) => {
      refusal = refused;
      if (refusal !== undefined) throw refusal;
      const pin = await ask();
      if (pin === undefined) throw missing;
      try {
        return await use(pin);
      } catch (error) {
        if (isPinRefused(error)) refusal = error;
        throw error;
      } finally {
        pin.fill(0);
      }
    });
    const last = result.then(
      () => undefined,
      () => refusal,
    );
    this.#last.set(token, last);
    void last.then(() => {
      if (this.#last.get(token) === last) this.#last.delete(token);
    });
    return result;
  }
}

/** Those who wait for one answer. */
class Waiting {
  readonly #unwanted = new AbortController();
  #count = 0;

  /** Aborted, with `clientGone`, when all of them have gone. */
  get unwanted(): AbortSignal {
    return this.#unwanted.signal;
  }

  /** Adds one who is there. @returns a function to call when it does not wait any more */
  join(gone: AbortSignal): () => void {
    this.#count++;
    const onGone = () => {
      this.#count--;
      if (this.#count === 0) this.#unwanted.abort(clientGone);
    };
    gone.addEventListener("abort", onGone, { once: true });
    return () => gone.removeEventListener("abort", onGone);
  }
}
