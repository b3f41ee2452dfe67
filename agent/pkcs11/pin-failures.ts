/** What failures of cards mean for the PIN. */
import { Failure } from "../../protocol/failure.ts";
import { PinRequired } from "./messages.ts";

const refused: ReadonlySet<string> = new Set(["pin-incorrect", "pin-last-try", "pin-locked"]);

/** Whether a PIN would help against the failure of a request that came without one. */
export function isPinMissing(error: unknown): error is PinRequired {
  return error instanceof PinRequired;
}

/** Whether a card has refused the PIN of a request that came with one. */
export function isPinRefused(error: unknown): error is Failure {
  return error instanceof Failure && refused.has(error.code);
}
