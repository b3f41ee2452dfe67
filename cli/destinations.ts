/** Destination constraints (`-h`), from the host keys in known_hosts files. */
import type { Constraint } from "../protocol/constraints.ts";
import type { Context } from "./context.ts";
import { fatal } from "./exit.ts";

/** All the destinations of the command line. @throws {Exit} when a host is not known */
export function destinationConstraint({ options }: Context): Constraint {
  throw fatal(`No host keys found for destination "${options.destinations[0]}"`);
}
