/**
 * The agent's prompts: confirmations, PIN prompts, and notices to touch an authenticator. They are
 * shown one at a time, first come, first served, because askpass programs grab the keyboard.
 */
import { Failure } from "../../protocol/failure.ts";

/** When a prompt is cancelled. */
export interface PromptOptions {
  /** Aborted, with a `Failure`, to cancel the prompt. */
  readonly signal: AbortSignal;
  /** Checks whether the prompt is still needed. @throws {Failure} if it is not */
  readonly check: () => void;
}

/** Shows a prompt until it is answered or the signal is aborted, and resolves with the answer. */
export type Show<Answer> = (signal: AbortSignal) => Promise<Answer>;

/** Cancels the prompts of a client that has gone. */
export const clientGone = new Failure(
  "user-refused",
  "The client disconnected, so its prompt was cancelled.",
  "Try again, and keep the connection open until the reply.",
);

/** A prompt with any type of answer. */
type Pending = Pick<Prompt<unknown>, "check" | "show" | "cancel">;

/** The prompts of an agent. */
export class PromptQueue {
  #shown: Pending | undefined;
  readonly #waiting = new Set<Pending>();

  /**
   * Queues a question. A buffer that is the answer to a cancelled question is overwritten.
   * @throws {Failure} the reason why it was cancelled; what `show` throws
   */
  ask<Answer>(options: PromptOptions, show: Show<Answer>): Promise<Answer> {
    return this.#add(options, show).answer;
  }

  /** Queues a notice, and returns a function that cancels it. */
  notify(options: PromptOptions, show: Show<void>): () => void {
    const prompt = this.#add(options, show);
    prompt.answer.catch(() => {}); // a notice has no answer
    return () => this.#cancel(prompt, undefined);
  }

  /** Cancels the prompts that are no longer needed. */
  recheck(): void {
    const shown = this.#shown === undefined ? [] : [this.#shown];
    for (const prompt of [...shown, ...this.#waiting]) {
      try {
        prompt.check();
      } catch (error) {
        this.#cancel(prompt, error);
      }
    }
  }

  #add<Answer>({ signal, check }: PromptOptions, show: Show<Answer>): Prompt<Answer> {
    const prompt = new Prompt(check, show);
    const cancel = () => this.#cancel(prompt, signal.reason);
    this.#waiting.add(prompt);
    if (signal.aborted) cancel();
    else signal.addEventListener("abort", cancel);
    const settled = () => signal.removeEventListener("abort", cancel);
    prompt.answer.then(settled, settled);
    if (this.#shown === undefined) void this.#showAll();
    return prompt;
  }

  #cancel(prompt: Pending, reason: unknown): void {
    this.#waiting.delete(prompt);
    prompt.cancel(reason);
  }

  async #showAll(): Promise<void> {
    // The loop also reaches prompts that are added while it runs.
    for (const prompt of this.#waiting) {
      this.#waiting.delete(prompt);
      this.#shown = prompt;
      await prompt.show();
    }
    this.#shown = undefined;
  }
}

/** One prompt. */
class Prompt<Answer> {
  readonly answer: Promise<Answer>;
  readonly check: () => void;
  readonly #show: Show<Answer>;
  readonly #cancelled = new AbortController();
  #resolve: (answer: Answer) => void = () => {};
  #reject: (reason: unknown) => void = () => {};

  constructor(check: () => void, show: Show<Answer>) {
    this.check = check;
    this.#show = show;
    this.answer = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Shows the prompt, if it is still needed. Resolves when the next one can be shown. */
  async show(): Promise<void> {
    try {
      this.check();
      const answer = await this.#show(this.#cancelled.signal);
      if (this.#cancelled.signal.aborted && Buffer.isBuffer(answer)) answer.fill(0);
      this.#resolve(answer);
    } catch (error) {
      this.#reject(error);
    }
  }

  /** Rejects `answer`, unless it has settled, and closes the prompt. */
  cancel(reason: unknown): void {
    this.#reject(reason);
    this.#cancelled.abort();
  }
}
