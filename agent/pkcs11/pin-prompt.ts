/**
 * PINs of tokens, on the agent's side: one prompt at a time for a token, one for all who wait for the
 * same login, and none for a while after one in vain.
 */
import { sanitizeName } from "../../openssh/text-for-display.ts";
import type { TokenDescription } from "../../protocol/extensions/list-providers.ts";
import type { Failure } from "../../protocol/failure.ts";
import type { Clock } from "../host/clock.ts";
import { clientGone } from "../policy/prompts.ts";
import { isPinRefused } from "./messages.ts";

/** The question for a token's PIN. @param keyName as in `UserInteraction` */
export function pinQuestion(token: TokenDescription, isLastTry: boolean, keyName: string): string {
  const warning = isLastTry ? "One try is left before the token locks itself.\n" : "";
  return `${warning}Enter PIN for token ${tokenName(token)} to use key ${keyName}: `;
}

/** A token as prompts name it. */
export function tokenName({ label, serial }: TokenDescription): string {
  return sanitizeName(label || serial);
}

/** Milliseconds for which nobody is asked again. */
const pause = 30_000;

/**
 * The tokens whose PIN somebody was asked for in vain, on one connection. A client that tries one key
 * after another, as ssh does, would have the agent ask for each of them: a person who has cancelled
 * would go on cancelling, and a program that answers with a wrong PIN would lock the card within one
 * login.
 */
export class PinPromptBackoff {
  readonly #clock: Clock;
  readonly #inVain = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether somebody may be asked for a token's PIN. */
  mayAsk(token: TokenDescription): boolean {
    const since = this.#inVain.get(tokenId(token));
    return since === undefined || this.#clock.now() - since >= pause;
  }

  /** Notes that nobody has answered, or that the token has refused the answer. */
  noteInVain(token: TokenDescription): void {
    this.#inVain.set(tokenId(token), this.#clock.now());
  }
}

function tokenId({ label, manufacturer, model, serial }: TokenDescription): string {
  return JSON.stringify([label, manufacturer, model, serial]);
}

/** A prompt for the PIN of a token, which goes by a number. */
export interface PinPrompt<Result> {
  readonly token: number;
  /** Why the PIN is asked for: thrown when there is no answer. */
  readonly missing: Failure;
  /**
   * Asks; undefined without an answer.
   * @param unwanted aborted, with `clientGone`, when nobody who waits for the PIN is left
   */
  readonly ask: (unwanted: AbortSignal) => Promise<Buffer | undefined>;
  readonly use: (pin: Buffer) => Promise<Result>;
}

/** A prompt and its login, for all who wait for them. */
interface SharedLogin {
  readonly done: Promise<void>;
  readonly waiting: Waiting;
}

/** The prompts for the tokens of one provider. */
export class PinPrompts {
  readonly #logins = new Map<number, SharedLogin>();
  /** For each token, the last prompt; it resolves with the refusal of the PIN, if it was refused. */
  readonly #last = new Map<number, Promise<Failure | undefined>>();
  /** For each token, how many logins have ended, and the last of them. */
  readonly #ended = new Map<number, { readonly count: number; readonly login: Promise<void> }>();

  /** How many logins to a token have ended. */
  ended(token: number): number {
    return this.#ended.get(token)?.count ?? 0;
  }

  /**
   * Asks and uses the answer once, for all who call this for the token before that is done, and for
   * those who would have, had they learned earlier that they need it. The prompt is taken back when
   * all of them have gone.
   * @param since how many logins had ended when the caller had not learned it yet
   * @param gone aborted, with `clientGone`, when the caller does not wait any more
   * @throws {Failure} `missing`, `clientGone`, or what `ask` and `use` throw
   */
  async shared(prompt: PinPrompt<void>, since: number, gone: AbortSignal): Promise<void> {
    gone.throwIfAborted();
    const last = this.#ended.get(prompt.token);
    const known = this.#logins.get(prompt.token);
    if (known === undefined && last !== undefined && last.count > since) return last.login;
    const { done, waiting } = known ?? this.#begin(prompt);
    const leave = waiting.join(gone);
    try {
      await done;
    } catch (error) {
      if (error !== clientGone || gone.aborted) throw error;
      // The prompt of others was being taken back when this one came.
      return this.shared(prompt, since, gone);
    } finally {
      leave();
    }
  }

  #begin(prompt: PinPrompt<void>): SharedLogin {
    const { token } = prompt;
    const waiting = new Waiting();
    const login = this.single(prompt, waiting.unwanted);
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
   * @param unwanted as in `PinPrompt.ask`
   * @throws {Failure} `missing`, or what `ask` and `use` throw, or threw for the one before
   */
  single<Result>(
    { token, missing, ask, use }: PinPrompt<Result>,
    unwanted: AbortSignal,
  ): Promise<Result> {
    let refusal: Failure | undefined;
    const before = this.#last.get(token) ?? Promise.resolve(undefined);
    const result = before.then(async (refused) => {
      refusal = refused;
      if (refusal !== undefined) throw refusal;
      const pin = await ask(unwanted);
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
