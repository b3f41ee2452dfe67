/** What failures of cards mean for the PIN. */
import { Failure } from "../../protocol/failure.ts";

const missing: ReadonlySet<string> = new Set(["pin-required", "pin-last-try"]);
const refused: ReadonlySet<string> = new Set(["pin-incorrect", "pin-last-try", "pin-locked"]);

/** Whether a PIN would help against the failure of a request that came without one. */
export function isPinMissing(error: unknown): error is Failure {
  return error instanceof Failure && missing.has(error.code);
}

/** Whether a card has refused the PIN of a request that came with one. */
export function isPinRefused(error: unknown): error is Failure {
  return error instanceof Failure && refused.has(error.code);
}
