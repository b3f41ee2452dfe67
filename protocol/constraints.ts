/**
 * Constraints on the use of an identity (RFC 9987, section 3.2.7, and OpenSSH's PROTOCOL.agent).
 *
 * A constraint that is not known here cannot be skipped, since only who knows it knows its length,
 * and must not be dropped, since it limits the key: it makes the request fail.
 */
import { Failure, malformed } from "./failure.ts";
import { constraintNumbers } from "./numbers.ts";
import { Reader, readStrings, Writer } from "./wire.ts";

/** A key that a host proves itself with, or a CA that certifies such keys. */
export interface HostKey {
  readonly keyBlob: Buffer;
  readonly isCa: boolean;
}

/** One end of a hop. The origin of the first hop has no host name and no keys. */
export interface Hop {
  /** The user to log in as; empty for any. Always empty at the origin. */
  readonly user: string;
  readonly host: string;
  readonly keys: readonly HostKey[];
}

/**
 * A hop that an identity may be used for: from one host to a user on another one. An identity with
 * such constraints is seen and used only through connections that ssh has bound to these hosts
 * (`session-bind@openssh.com`); `ssh-add -h` makes them from known_hosts.
 */
export interface DestinationConstraint {
  readonly from: Hop;
  readonly to: Hop;
}

/**
 * What limits the use of an identity, from when it is added. An agent that does not know a constraint
 * refuses the whole request, so that no limit is lost. Each may stand once.
 */
export type Constraint =
  /** The identity is removed after so many seconds. */
  | { readonly type: "lifetime"; readonly seconds: number }
  /** Each use has to be confirmed by the user. */
  | { readonly type: "confirm" }
  /** `restrict-destination-v00@openssh.com` */
  | {
      readonly type: "restrict-destination";
      readonly destinations: readonly DestinationConstraint[];
    }
  /** `associated-certs-v00@openssh.com`: certificates for the keys of a provider. */
  | {
      readonly type: "associated-certs";
      /** Only the certificates, not the plain keys. */
      readonly certsOnly: boolean;
      readonly certificates: readonly Buffer[];
    }
  /** `keep-ended-certificate@cardagent.alt`: the agent does not drop a certificate at its end. */
  | { readonly type: "keep-ended-certificate" }
  /** `sk-provider@openssh.com`: the middleware of a FIDO key. */
  | { readonly type: "sk-provider"; readonly provider: string };

/** Limits of OpenSSH's agent. */
const maxDestinations = 1024;
const maxCertificates = 1024;
/** Bytes of the pattern of a user's name. */
const maxUserPattern = 256;

const restrictDestination = "restrict-destination-v00@openssh.com";
const associatedCerts = "associated-certs-v00@openssh.com";
/** The one constraint of our own; `query` names it beside the requests. */
export const keepEndedCertificate = "keep-ended-certificate@cardagent.alt";
const skProvider = "sk-provider@openssh.com";

/** Reads constraints to the end of the message. @throws {Failure} malformed, unsupported */
export function readConstraints(reader: Reader): Constraint[] {
  const constraints: Constraint[] = [];
  while (reader.remaining > 0) {
    const constraint = readConstraint(reader);
    if (constraints.some((earlier) => earlier.type === constraint.type)) {
      throw malformed(`The constraint "${constraint.type}" stands twice.`);
    }
    constraints.push(constraint);
  }
  return constraints;
}

/** Writes constraints; inverts `readConstraints`. */
export function writeConstraints(writer: Writer, constraints: readonly Constraint[]): void {
  for (const constraint of constraints) writeConstraint(writer, constraint);
}

function readConstraint(reader: Reader): Constraint {
  const number = reader.byte();
  switch (number) {
    case constraintNumbers.lifetime:
      return { type: "lifetime", seconds: reader.uint32() };
    case constraintNumbers.confirm:
      return { type: "confirm" };
    case constraintNumbers.extension:
      return readExtension(reader, reader.name());
    default:
      throw new Failure("unsupported", `Constraint number ${number} is not supported.`);
  }
}

function readExtension(reader: Reader, name: string): Constraint {
  switch (name) {
    case restrictDestination: {
      const destinations = readAtMost(maxDestinations, "destinations", reader.string());
      return { type: "restrict-destination", destinations: destinations.map(decodeDestination) };
    }
    case associatedCerts: {
      const certsOnly = reader.bool();
      const certificates = readAtMost(maxCertificates, "certificates", reader.string());
      return { type: "associated-certs", certsOnly, certificates };
    }
    case keepEndedCertificate:
      return { type: "keep-ended-certificate" };
    case skProvider:
      return { type: "sk-provider", provider: reader.cString() };
    default:
      throw new Failure("unsupported", `The constraint "${name}" is not supported.`);
  }
}

function readAtMost(most: number, what: string, bytes: Buffer): Buffer[] {
  const strings = readStrings(bytes);
  if (strings.length <= most) return strings;
  throw new Failure("too-large", `More than ${most} ${what} in a constraint are not accepted.`);
}

function writeConstraint(writer: Writer, constraint: Constraint): void {
  switch (constraint.type) {
    case "lifetime":
      writer.byte(constraintNumbers.lifetime).uint32(constraint.seconds);
      return;
    case "confirm":
      writer.byte(constraintNumbers.confirm);
      return;
    case "restrict-destination": {
      const list = new Writer();
      for (const destination of constraint.destinations)
        list.string(encodeDestination(destination));
      writer.byte(constraintNumbers.extension).text(restrictDestination).string(list.finish());
      return;
    }
    case "associated-certs": {
      const list = new Writer();
      for (const certificate of constraint.certificates) list.string(certificate);
      writer.byte(constraintNumbers.extension).text(associatedCerts);
      writer.bool(constraint.certsOnly).string(list.finish());
      return;
    }
    case "keep-ended-certificate":
      writer.byte(constraintNumbers.extension).text(keepEndedCertificate);
      return;
    case "sk-provider":
      writer.byte(constraintNumbers.extension).text(skProvider).text(constraint.provider);
      return;
  }
}

function decodeDestination(bytes: Buffer): DestinationConstraint {
  const reader = new Reader(bytes);
  const from = decodeHop(reader.string());
  const to = decodeHop(reader.string());
  if (reader.string().length > 0) throw malformed("A destination's reserved field is not empty.");
  reader.end();
  if (from.user !== "" || (from.host === "") !== (from.keys.length === 0)) {
    throw malformed("A destination's origin is not one.");
  }
  if (to.host === "" || to.keys.length === 0) throw malformed("A destination has no host or key.");
  return { from, to };
}

function decodeHop(bytes: Buffer): Hop {
  const reader = new Reader(bytes);
  const user = reader.cString();
  const host = reader.cString();
  if (Buffer.byteLength(user) > maxUserPattern) {
    throw malformed(`The user of a destination is longer than ${maxUserPattern} bytes.`);
  }
  if (reader.string().length > 0) throw malformed("A hop's reserved field is not empty.");
  const keys: HostKey[] = [];
  while (reader.remaining > 0) keys.push({ keyBlob: reader.string(), isCa: reader.bool() });
  return { user, host, keys };
}

function encodeDestination({ from, to }: DestinationConstraint): Buffer {
  return new Writer().string(encodeHop(from)).string(encodeHop(to)).text("").finish();
}

function encodeHop({ user, host, keys }: Hop): Buffer {
  const writer = new Writer().text(user).text(host).text("");
  for (const { keyBlob, isCa } of keys) writer.string(keyBlob).bool(isCa);
  return writer.finish();
}
