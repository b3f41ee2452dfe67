/** What failures of cards mean for the PIN. */
import { Failure } from "../../protocol/failure.ts";

const refused: ReadonlySet<string> = new Set(["pin-incorrect", "pin-last-try", "pin-locked"]);

/** Whether a card has refused the PIN of a request that came with one. */
export function isPinRefused(error: unknown): error is Failure {
  return error instanceof Failure && refused.has(error.code);
}
