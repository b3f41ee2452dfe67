/** What is said of an identity's limits after it was added. */
import type { Context } from "./context.ts";
import { formatLifetime } from "./lifetime.ts";

/** Says how long an identity lives, and that its use has to be confirmed. */
export function describeLimits({ console, options }: Context, lifetime: number): void {
  if (lifetime > 0) console.note(`Lifetime set to ${formatLifetime(lifetime)}`);
  if (options.confirm) console.note("The user must confirm each use of the key");
}
