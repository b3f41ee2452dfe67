/** Converts the constraints of a request to the limits of an identity. */
import {
  type Constraint,
  type DestinationConstraint,
  readConstraints,
  writeConstraints,
} from "../../protocol/constraints.ts";
import { Failure } from "../../protocol/failure.ts";
import { verifyKeyOrCertificate } from "../../protocol/verification.ts";
import { Reader, Writer } from "../../protocol/wire.ts";
import type { Agent } from "../agent.ts";
import type { Limits } from "../identity.ts";

/** The constraints of a request. */
export interface Constraints {
  readonly limits: Limits;
  /** `associated-certs-v00@openssh.com`: undefined if absent. */
  readonly associatedCerts: Extract<Constraint, { type: "associated-certs" }> | undefined;
  /** `only-keys@cardagent.alt`: the fingerprints of the keys to add; undefined for all. */
  readonly only: readonly string[] | undefined;
  /** `keep-ended-certificate@cardagent.alt`: a certificate is kept after it expires. */
  readonly keepEnded: boolean;
  /** `sk-provider@openssh.com`: as the client wrote it; undefined if absent. */
  readonly skProvider: string | undefined;
}

/**
 * Reads the constraints of a request. The result shares no bytes with the request.
 * @param kind decides which constraints besides limits are allowed: certificates and a choice of
 *   keys for a card, a provider of FIDO keys for a key
 * @throws {Failure} unsupported, for a constraint that is not allowed; malformed, for an invalid
 *   host key
 */
export function limitsOf(
  agent: Agent,
  constraints: readonly Constraint[],
  kind: "card" | "key" | "certificate",
): Constraints {
  let lifetime = agent.settings.defaultLifetime;
  let confirm = false;
  let destinations: readonly DestinationConstraint[] = [];
  let associatedCerts: Constraints["associatedCerts"];
  let skProvider: string | undefined;
  let only: Constraints["only"];
  let keepEnded = false;
  for (const constraint of copyOf(constraints)) {
    switch (constraint.type) {
      case "lifetime":
        lifetime = constraint.seconds;
        break;
      case "confirm":
        confirm = true;
        break;
      case "restrict-destination":
        destinations = constraint.destinations;
        for (const { from, to } of destinations) {
          for (const { keyBlob } of [...from.keys, ...to.keys]) verifyKeyOrCertificate(keyBlob);
        }
        break;
      case "associated-certs":
        if (kind !== "card")
          throw new Failure("unsupported", "Associated certificates are for smartcard keys only.");
        associatedCerts = constraint;
        break;
      case "only-keys":
        if (kind !== "card")
          throw new Failure("unsupported", "The only-keys constraint is for smartcard keys only.");
        only = constraint.fingerprints;
        break;
      case "keep-ended-certificate":
        keepEnded = true;
        break;
      case "sk-provider":
        if (kind !== "key")
          throw new Failure("unsupported", "The sk-provider constraint is for added keys only.");
        skProvider = constraint.provider;
        break;
    }
  }
  const expires = lifetime === undefined ? undefined : agent.clock.now() + lifetime * 1000;
  const limits = { expires, confirm, destinations };
  return { limits, associatedCerts, only, keepEnded, skProvider };
}

/**
 * The stricter of inherited and given limits.
 * @throws {Failure} destination-not-permitted, when no destination is left
 */
export function intersectLimits(inherited: Limits, given: Limits): Limits {
  return {
    expires: sooner(inherited.expires, given.expires),
    confirm: inherited.confirm || given.confirm,
    destinations: narrowDestinations(inherited.destinations, given.destinations),
  };
}

/** The earlier of two times; undefined means never. */
export function sooner(one: number | undefined, other: number | undefined): number | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return Math.min(one, other);
}

function narrowDestinations(
  inherited: readonly DestinationConstraint[],
  given: readonly DestinationConstraint[],
): readonly DestinationConstraint[] {
  if (given.length === 0) return inherited;
  if (inherited.length === 0) return given;
  const known = new Set(inherited.map(encoded));
  const both = given.filter((destination) => known.has(encoded(destination)));
  if (both.length > 0) return both;
  throw new Failure(
    "destination-not-permitted",
    "None of the destinations is permitted for the key.",
  );
}

function encoded(destination: DestinationConstraint): string {
  const writer = new Writer();
  writeConstraints(writer, [{ type: "restrict-destination", destinations: [destination] }]);
  return writer.finish().toString("latin1");
}

/** Copies constraints: decoded ones are views of the request, which is overwritten. */
function copyOf(constraints: readonly Constraint[]): Constraint[] {
  if (constraints.length === 0) return [];
  const writer = new Writer();
  writeConstraints(writer, constraints);
  return readConstraints(new Reader(writer.finish()));
}
