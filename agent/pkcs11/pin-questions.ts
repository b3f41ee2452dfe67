/** Questions for PINs: one at a time for a token, and one for all who wait for the same login. */
import type { Failure } from "../../protocol/failure.ts";
import { isPinRefused } from "./pin-failures.ts";

/** Asks for a PIN; undefined without an answer. */
type Ask = () => Promise<Buffer | undefined>;

/** The questions about the tokens of one provider, each of which goes by a number. */
export class PinQuestions {
  readonly #logins = new Map<number, Promise<void>>();
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
   * those who would have, had they learned earlier that they need it.
   * @param since how many logins had ended when the caller had not learned it yet
   * @param missing why the PIN is asked for: thrown when there is no answer
   * @throws {Failure} `missing`, or what `ask` and `use` throw
   */
  shared(
    token: number,
    since: number,
    missing: Failure,
    ask: Ask,
    use: (pin: Buffer) => Promise<void>,
  ): Promise<void> {
    const known = this.#logins.get(token);
    if (known !== undefined) return known;
    const last = this.#ended.get(token);
    if (last !== undefined && last.count > since) return last.login;
    const login = this.alone(token, missing, ask, use).finally(() => {
      this.#logins.delete(token);
      this.#ended.set(token, { count: this.ended(token) + 1, login });
    });
    this.#logins.set(token, login);
    return login;
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
    ask: Ask,
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
