/** Constraints from the command line, in the order in which OpenSSH sends them. */
import { formatDuration } from "../openssh/duration.ts";
import { type Constraint, keepEndedCertificate, onlyKeys } from "../protocol/constraints.ts";
import type { Context } from "./context.ts";

/**
 * The constraints of -t, -c and -h.
 * @param lifetime seconds, 0 for none; a certificate's may be shorter than that of -t
 * @throws {Exit} for an unknown destination
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

/** With -N, the constraint that makes an agent keep expired certificates, if it supports that. */
export async function keepEndedConstraint(context: Context): Promise<Constraint[]> {
  if (!context.options.ignoresExpiry || !(await supports(context, keepEndedCertificate))) return [];
  return [{ type: "keep-ended-certificate" }];
}

/** The constraint that chooses keys of a library; undefined if the agent does not support it. */
export async function onlyKeysConstraint(
  context: Context,
  fingerprints: readonly string[],
): Promise<Constraint | undefined> {
  if (!(await supports(context, onlyKeys))) return undefined;
  return { type: "only-keys", fingerprints };
}

/**
 * Whether an agent lists a constraint among its extensions. Agents refuse constraints that they do
 * not know, so ours are sent only to one that does.
 */
async function supports(context: Context, constraint: string): Promise<boolean> {
  // An agent that fails is reported when the constraint would be sent.
  const known = extensions.get(context) ?? context.client.query().catch(() => []);
  extensions.set(context, known);
  return (await known).includes(constraint);
}

/** The agent's answer, asked for once per run. */
const extensions = new WeakMap<Context, Promise<readonly string[]>>();

/** The destinations, looked up once per run. */
const lookedUp = new WeakMap<Context, Constraint>();

async function destinationsFor(context: Context): Promise<Constraint> {
  const known = lookedUp.get(context);
  if (known !== undefined) return known;
  const { destinationConstraint } = await import("./destinations.ts");
  const found = destinationConstraint(context);
  lookedUp.set(context, found);
  return found;
}

/** The library for FIDO authenticators: -S, else SSH_SK_PROVIDER, else OpenSSH's internal one. */
export function skProvider({ options, env }: Context): string {
  return options.skProvider ?? env.SSH_SK_PROVIDER ?? "internal";
}

/** Prints an added identity's lifetime, and whether each use must be confirmed. */
export function describeLimits({ console, options }: Context, lifetime: number): void {
  if (lifetime > 0) console.note(`Lifetime set to ${formatDuration(lifetime)}`);
  if (options.confirm) console.note("The user must confirm each use of the key");
}
