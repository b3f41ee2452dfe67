/** Constraints from the command line, in the order in which OpenSSH sends them. */
import { formatDuration } from "../openssh/duration.ts";
import { type Constraint, keepEndedCertificate } from "../protocol/constraints.ts";
import type { Context } from "./context.ts";

/**
 * What -t, -c and -h ask for.
 * @param lifetime seconds, 0 for none; it may be shorter than that of -t
 * @throws {Exit} when a destination is not known
 */
export async function constraintsFor(context: Context, lifetime: number): Promise<Constraint[]> {
  const { confirm, destinations } = context.options;
  const constraints: Constraint[] = [];
  if (lifetime > 0) constraints.push({ type: "lifetime", seconds: lifetime });
  if (confirm) constraints.push({ type: "confirm" });
  if (destinations.length > 0) {
    constraints.push(await destinationsFor(context));
  }
  return constraints;
}

/**
 * What has an agent keep certificates that have ended: with -N, where it would drop them by itself
 * and lets itself be told not to. Agents refuse constraints that they do not know, so it is asked.
 */
export async function keepEndedConstraint(context: Context): Promise<Constraint[]> {
  if (!context.options.unlimited) return [];
  const known = knowsKeepEnded.get(context) ?? askKeepEnded(context);
  knowsKeepEnded.set(context, known);
  return (await known) ? [{ type: "keep-ended-certificate" }] : [];
}

/** What the agent of each run answered, which is asked once. */
const knowsKeepEnded = new WeakMap<Context, Promise<boolean>>();

async function askKeepEnded({ client }: Context): Promise<boolean> {
  try {
    return (await client.query()).includes(keepEndedCertificate);
  } catch {
    return false; // what the agent thinks of the certificate itself is told when it is sent
  }
}

/** The destinations of each run, which are looked up once. */
const lookedUp = new WeakMap<Context, Constraint>();

async function destinationsFor(context: Context): Promise<Constraint> {
  const known = lookedUp.get(context);
  if (known !== undefined) return known;
  const { destinationConstraint } = await import("./destinations.ts");
  const found = destinationConstraint(context);
  lookedUp.set(context, found);
  return found;
}

/** The library of FIDO authenticators: -S, else SSH_SK_PROVIDER, else the one within OpenSSH. */
export function skProvider({ options, env }: Context): string {
  return options.skProvider ?? env.SSH_SK_PROVIDER ?? "internal";
}

/** Says how long an added identity lives, and that its use has to be confirmed. */
export function describeLimits({ console, options }: Context, lifetime: number): void {
  if (lifetime > 0) console.note(`Lifetime set to ${formatDuration(lifetime)}`);
  if (options.confirm) console.note("The user must confirm each use of the key");
}
