/** For tests: somebody who sits before the cards, and answers. */
import type { UserInteraction } from "../signer.ts";
import { nobody, pinOf } from "./test-registry.ts";

/** Somebody, and what they were asked. */
export interface Person {
  readonly holder: UserInteraction;
  readonly asked: readonly { readonly card: string; readonly isLastTry: boolean }[];
  /** The PINs that were given, in the buffers in which they were. */
  readonly given: readonly Buffer[];
}

/** Somebody who gives these answers, one after the other; the last one for all that follow. */
export function person(...answers: (string | undefined)[]): Person {
  const asked: { card: string; isLastTry: boolean }[] = [];
  const given: Buffer[] = [];
  const holder: UserInteraction = {
    ...nobody,
    async askPin(question) {
      const [, warning, card = ""] =
        /^(One try.*\n)?Enter PIN for token (.*) to use/.exec(question) ?? [];
      asked.push({ card, isLastTry: warning !== undefined });
      const answer = answers[Math.min(asked.length, answers.length) - 1];
      if (answer === undefined) return undefined;
      const pin = pinOf(answer);
      given.push(pin);
      return pin;
    },
  };
  return { holder, asked, given };
}
