/** What a token tells of wrong PINs, and how long it is news. */
import type { Module } from "./module.ts";
import { hasSeenWrongPin, type SlotToken, wrongPinFlags } from "./slot-token.ts";
import { readToken } from "./tokens.ts";

/**
 * Some libraries go on to tell of wrong PINs after the right one was accepted: OpenSC's asks the card
 * only when it is started. What a token still says just after a login is of the past.
 */
export class PinFlags {
  readonly #module: Module;
  /** It told of wrong PINs when it was last looked at. */
  #isWarning = false;
  /** The flags that are of the past, and the generation of the library that shows them. */
  #past: { readonly flags: number; readonly generation: number } | undefined;

  constructor(module: Module) {
    this.#module = module;
  }

  /** The token without what is of the past. @param token as its library shows it now */
  read(token: SlotToken): SlotToken {
    this.#isWarning = hasSeenWrongPin(token);
    if (this.#past === undefined) return token;
    const isPast =
      this.#past.generation === this.#module.generation &&
      this.#past.flags === (token.flags & wrongPinFlags);
    if (isPast) return { ...token, flags: token.flags & ~wrongPinFlags };
    this.#past = undefined;
    return token;
  }

  /** Notes that the token has accepted a PIN. @param token as it was before */
  noteAccepted({ slot }: Pick<SlotToken, "slot">): void {
    if (!this.#isWarning) return;
    const now = readToken(this.#module.cryptoki, slot);
    if (now === undefined) return;
    this.#past = { flags: now.flags & wrongPinFlags, generation: this.#module.generation };
  }
}
