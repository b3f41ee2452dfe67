/** For tests: a user who answers PIN prompts. */
import type { UserInteraction } from "../signer.ts";
import { noUser, pinOf } from "./test-registry.ts";

/** A user, and the prompts that they saw. */
export interface TestUser {
  readonly interaction: UserInteraction;
  readonly asked: readonly { readonly card: string; readonly isLastTry: boolean }[];
  /** The PINs that were entered, in the buffers that held them. */
  readonly given: readonly Buffer[];
}

/** A user who gives these answers in order, and then repeats the last one. */
export function makeUser(...answers: (string | undefined)[]): TestUser {
  const asked: { card: string; isLastTry: boolean }[] = [];
  const given: Buffer[] = [];
  const interaction: UserInteraction = {
    ...noUser,
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
  return { interaction, asked, given };
}
