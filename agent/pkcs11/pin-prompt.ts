/**
 * PIN prompts: one at a time for a token, one for all signatures that wait for the same login, and
 * none for a while after one without success.
 */
import { sanitizeName } from "../../openssh/text-for-display.ts";
import type { TokenDescription } from "../../protocol/extensions/list-providers.ts";
import type { Failure } from "../../protocol/failure.ts";
import type { Clock } from "../host/clock.ts";
import { clientGone } from "../policy/prompts.ts";
import { isPinRefused, type KnownToken } from "./messages.ts";

/** The question for a token's PIN. @param keyName as in `UserInteraction` */
export function pinQuestion(token: TokenDescription, isLastTry: boolean, keyName: string): string {
  const warning = isLastTry ? "One try is left before the token locks itself.\n" : "";
  return `${warning}Enter PIN for token ${tokenName(token)} to use key ${keyName}: `;
}

/** A token as prompts name it. */
export function tokenName({ label, serial }: TokenDescription): string {
  return sanitizeName(label || serial);
}

/** Milliseconds between a prompt without success and the next one. */
const pause = 30_000;

/**
 * The tokens of one connection whose PIN prompt was cancelled, or whose PIN was refused. A client
 * that tries one key after another, as ssh does, would cause a prompt for each: a user who has
 * cancelled would have to cancel again and again, and an askpass program with a wrong PIN would
 * lock the card within one login.
 */
export class PinPromptBackoff {
  readonly #clock: Clock;
  /** By the tokens' identities. */
  readonly #failedAt = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Whether the user may be asked for the PIN of a token now. */
  mayAsk({ identity }: KnownToken): boolean {
    const since = this.#failedAt.get(identity);
    return since === undefined || this.#clock.now() - since >= pause;
  }

  /** Notes that the prompt was cancelled, or that the token refused the PIN. */
  noteInVain({ identity }: KnownToken): void {
    this.#failedAt.set(identity, this.#clock.now());
  }
}

/** A prompt for the PIN of a token, which is given by its index. */
export interface PinPrompt<Result> {
  readonly token: number;
  /** Why the PIN is needed; thrown when the prompt is cancelled. */
  readonly missing: Failure;
  /**
   * Asks; undefined when the prompt is cancelled.
   * @param signal aborted, with `clientGone`, when all clients that wait for the PIN have gone
   */
  readonly ask: (signal: AbortSignal) => Promise<Buffer | undefined>;
  readonly use: (pin: Buffer) => Promise<Result>;
}

/** A prompt and its login, with the requests that wait for them. */
interface SharedLogin {
  readonly done: Promise<void>;
  readonly waiters: Waiters;
}

/** The prompts for the tokens of one provider. */
export class PinPrompts {
  readonly #logins = new Map<number, SharedLogin>();
  /** For each token, the last prompt; resolves with the refusal of its PIN, if there was one. */
  readonly #last = new Map<number, Promise<Failure | undefined>>();
  /** For each token, how many logins have ended, and the last of them. */
  readonly #ended = new Map<number, { readonly count: number; readonly login: Promise<void> }>();

  /** How many logins to a token have ended, with or without success. */
  ended(token: number): number {
    return this.#ended.get(token)?.count ?? 0;
  }

  /**
   * Asks for the PIN and uses it, once for all concurrent calls for the token. A caller that began
   * before the last login ended gets the result of that login. The prompt is withdrawn when the
   * clients of all callers have gone.
   * @param since `ended(token)` when the caller began
   * @param gone aborted, with `clientGone`, when the caller's client has gone
   * @throws {Failure} `missing`, `clientGone`, or what `ask` and `use` throw
   */
  async shared(prompt: PinPrompt<void>, since: number, gone: AbortSignal): Promise<void> {
    gone.throwIfAborted();
    const last = this.#ended.get(prompt.token);
    const known = this.#logins.get(prompt.token);
    if (known === undefined && last !== undefined && last.count > since) return last.login;
    const { done, waiters } = known ?? this.#begin(prompt);
    const leave = waiters.join(gone);
    try {
      await done;
    } catch (error) {
      if (error !== clientGone || gone.aborted) throw error;
      // The prompt was being withdrawn when this call joined it.
      return this.shared(prompt, since, gone);
    } finally {
      leave();
    }
  }

  #begin(prompt: PinPrompt<void>): SharedLogin {
    const { token } = prompt;
    const waiters = new Waiters();
    const login = this.single(prompt, waiters.signal);
    const ended = () => {
      this.#logins.delete(token);
      this.#ended.set(token, { count: this.ended(token) + 1, login });
    };
    const failed = (error: unknown) => {
      // A withdrawn prompt is not a login.
      if (error === clientGone) this.#logins.delete(token);
      else ended();
      throw error;
    };
    const shared = { done: login.then(ended, failed), waiters };
    this.#logins.set(token, shared);
    return shared;
  }

  /**
   * Asks for the PIN and uses it, after the earlier prompts for the token: the user sees one at a
   * time. The PIN is overwritten afterwards. When a PIN is refused, the prompts queued behind it
   * fail with the same refusal: an askpass program with a wrong PIN would lock the card before the
   * user notices.
   * @param signal as in `PinPrompt.ask`
   * @throws {Failure} `missing`, what `ask` and `use` throw, or the refusal of the prompt before
   */
  single<Result>(
    { token, missing, ask, use }: PinPrompt<Result>,
    signal: AbortSignal,
  ): Promise<Result> {
    let refusal: Failure | undefined;
    const before = this.#last.get(token) ?? Promise.resolve(undefined);
    const result = before.then(async (refused) => {
      refusal = refused;
      if (refusal !== undefined) throw refusal;
      const pin = await ask(signal);
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

/** The requests that wait for one answer. */
class Waiters {
  readonly #abandoned = new AbortController();
  #count = 0;

  /** Aborted, with `clientGone`, when the clients of all have gone. */
  get signal(): AbortSignal {
    return this.#abandoned.signal;
  }

  /** Adds a request. @returns a function to call when it no longer waits */
  join(gone: AbortSignal): () => void {
    this.#count++;
    const onGone = () => {
      this.#count--;
      if (this.#count === 0) this.#abandoned.abort(clientGone);
    };
    gone.addEventListener("abort", onGone, { once: true });
    return () => gone.removeEventListener("abort", onGone);
  }
}
