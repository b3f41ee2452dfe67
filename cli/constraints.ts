/** Constraints from the command line, in the order in which OpenSSH sends them. */
import type { Constraint } from "../protocol/constraints.ts";
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
