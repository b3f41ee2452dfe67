/**
 * What the agent shows its user: questions whether a key may be used, questions for PINs, notices to
 * touch something. They are shown one at a time, in the order of their arrival, because askpass
 * programs that are shown together take the keyboard from each other. Nothing else waits for them.
 */
import { Failure } from "../../protocol/failure.ts";

/** What a prompt is for. */
export interface Purpose {
  /** Aborted, with a `Failure`, when nobody waits for the prompt any more. */
  readonly unwanted: AbortSignal;
  /** @throws {Failure} when there is nothing to ask for any more */
  readonly check: () => void;
}

/**
 * Shows a prompt until it is answered, or until it is taken back.
 * @param taken aborted when it is to be taken back
 * @returns the answer, once the next prompt can be shown
 */
export type Show<Answer> = (taken: AbortSignal) => Promise<Answer>;

/** Why a prompt is taken back whose client has gone. */
export const clientGone = new Failure(
  "user-refused",
  "The client that asked has gone, so that its question was not asked, or was taken back.",
  "Ask again, and wait for the answer.",
);

/** A prompt that is shown or waits, whatever its answer is. */
type Pending = Pick<Prompt<unknown>, "check" | "show" | "takeBack">;

/** The prompts of an agent. */
export class PromptQueue {
  #shown: Pending | undefined;
  readonly #waiting = new Set<Pending>();

  /**
   * Asks a question when its turn comes. It is not asked, or taken back, when nobody wants to know
   * the answer any more. An answer that comes too late is overwritten, if it is a buffer.
   * @throws {Failure} why it was not asked or was taken back; what `show` throws
   */
  ask<Answer>(purpose: Purpose, show: Show<Answer>): Promise<Answer> {
    return this.#add(purpose, show).answer;
  }

  /**
   * Shows a notice when its turn comes, until what it tells is no longer true.
   * @returns a function that says so: the notice is taken back, or never shown
   */
  notify(purpose: Purpose, show: Show<void>): () => void {
    const prompt = this.#add(purpose, show);
    prompt.answer.catch(() => {}); // whoever has something to tell does not wait for it
    return () => this.#takeBack(prompt, undefined);
  }

  /** Takes back what there is nothing to ask for any more. */
  recheck(): void {
    const shown = this.#shown === undefined ? [] : [this.#shown];
    for (const prompt of [...shown, ...this.#waiting]) {
      try {
        prompt.check();
      } catch (error) {
        this.#takeBack(prompt, error);
      }
    }
  }

  #add<Answer>({ unwanted, check }: Purpose, show: Show<Answer>): Prompt<Answer> {
    const prompt = new Prompt(check, show);
    const takeBack = () => this.#takeBack(prompt, unwanted.reason);
    this.#waiting.add(prompt);
    if (unwanted.aborted) takeBack();
    else unwanted.addEventListener("abort", takeBack);
    const settled = () => unwanted.removeEventListener("abort", takeBack);
    prompt.answer.then(settled, settled);
    if (this.#shown === undefined) void this.#showAll();
    return prompt;
  }

  #takeBack(prompt: Pending, reason: unknown): void {
    this.#waiting.delete(prompt);
    prompt.takeBack(reason);
  }

  async #showAll(): Promise<void> {
    // The loop also comes to those that are added meanwhile.
    for (const prompt of this.#waiting) {
      this.#waiting.delete(prompt);
      this.#shown = prompt;
      await prompt.show();
    }
    this.#shown = undefined;
  }
}

/** One prompt, from its arrival to its answer. */
class Prompt<Answer> {
  readonly answer: Promise<Answer>;
  /** @throws {Failure} when there is nothing to ask for any more */
  readonly check: () => void;
  readonly #show: Show<Answer>;
  readonly #taken = new AbortController();
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

  /** Shows it, unless there is nothing to ask for. Resolves when the next one can be shown. */
  async show(): Promise<void> {
    try {
      this.check();
      const answer = await this.#show(this.#taken.signal);
      if (this.#taken.signal.aborted && Buffer.isBuffer(answer)) answer.fill(0);
      this.#resolve(answer);
    } catch (error) {
      this.#reject(error);
    }
  }

  /** Gives it up. What has been answered stays answered. */
  takeBack(reason: unknown): void {
    this.#reject(reason);
    this.#taken.abort();
  }
}
