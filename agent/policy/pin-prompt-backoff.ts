/** The cards whose PIN somebody was asked for in vain, on one connection. */
import type { TokenDescription } from "../../protocol/extensions/list-providers.ts";

/** Milliseconds for which nobody is asked again. */
const pause = 30_000;

/**
 * A client that tries one key after another, as ssh does, would have the agent ask for each of them:
 * a person who has cancelled would go on cancelling, and a program that answers with a wrong PIN would
 * lock the card within one login.
 */
export class PinPromptBackoff {
  readonly #inVain = new Map<string, number>();

  /** Whether somebody may be asked for a card's PIN. @param now milliseconds */
  mayAsk(card: TokenDescription, now: number): boolean {
    const since = this.#inVain.get(nameOf(card));
    return since === undefined || now - since >= pause;
  }

  /** Notes that nobody has answered, or that the card has refused the answer. */
  noteInVain(card: TokenDescription, now: number): void {
    this.#inVain.set(nameOf(card), now);
  }
}

function nameOf({ label, manufacturer, model, serial }: TokenDescription): string {
  return JSON.stringify([label, manufacturer, model, serial]);
}
