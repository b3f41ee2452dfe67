/**
 * Constraints on the use of an identity (RFC 9987, section 3.2.7, and OpenSSH's PROTOCOL.agent).
 *
 * An unknown constraint makes the request fail: its length is unknown, and to ignore it would lift a
 * limit of the key.
 */
import { Failure, malformed } from "./failure.ts";
import { constraintNumbers } from "./numbers.ts";
import { Reader, readStrings, Writer } from "./wire.ts";

/** A host's public key, or that of a CA for host certificates. */
export interface HostKey {
  readonly keyBlob: Buffer;
  readonly isCa: boolean;
}

/** One end of a hop. The origin has no host name and no keys. */
export interface Hop {
  /** The user to log in as; empty for any. Always empty at the origin. */
  readonly user: string;
  readonly host: string;
  readonly keys: readonly HostKey[];
}

/**
 * A permitted use of an identity: from one host to a user on another host. The agent lists and uses the
 * identity only on connections that ssh has bound to these hosts (`session-bind@openssh.com`).
 * `ssh-add -h` makes these constraints from known_hosts.
 */
export interface DestinationConstraint {
  readonly from: Hop;
  readonly to: Hop;
}

/**
 * A limit on the use of an identity. An agent refuses a request with an unknown constraint, and with two
 * of the same type.
 */
export type Constraint =
  /** The agent removes the identity after this time. */
  | { readonly type: "lifetime"; readonly seconds: number }
  /** The user must confirm each use. */
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
  /** `only-keys@cardagent.alt`: the keys of a provider to add, and no others. */
  | { readonly type: "only-keys"; readonly fingerprints: readonly string[] }
  /** `keep-ended-certificate@cardagent.alt`: the agent keeps an expired certificate. */
  | { readonly type: "keep-ended-certificate" }
  /** `sk-provider@openssh.com`: the middleware of a FIDO key. */
  | { readonly type: "sk-provider"; readonly provider: string };

/** Limits of OpenSSH's agent. */
const maxDestinations = 1024;
const maxCertificates = 1024;
const maxFingerprints = 1024;
/** The length of a user name's pattern, in bytes. */
const maxUserPattern = 256;

const restrictDestination = "restrict-destination-v00@openssh.com";
const associatedCerts = "associated-certs-v00@openssh.com";
/** Our own constraints; `query` lists them with the extensions. */
export const keepEndedCertificate = "keep-ended-certificate@cardagent.alt";
export const onlyKeys = "only-keys@cardagent.alt";
const skProvider = "sk-provider@openssh.com";

/** A fingerprint by SHA-256 or MD5, as `ssh-add -l` prints it. */
export function isFingerprint(text: string): boolean {
  return /^(SHA256:[A-Za-z0-9+/]{43}|MD5:[0-9a-f]{2}(:[0-9a-f]{2}){15})$/.test(text);
}

/** Reads constraints up to the end of the message. @throws {Failure} malformed, unsupported */
export function readConstraints(reader: Reader): Constraint[] {
  const constraints: Constraint[] = [];
  while (reader.remaining > 0) {
    const constraint = readConstraint(reader);
    if (constraints.some((earlier) => earlier.type === constraint.type)) {
      throw malformed(`Duplicate constraint "${constraint.type}".`);
    }
    constraints.push(constraint);
  }
  return constraints;
}

/** Writes constraints; the inverse of `readConstraints`. */
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
      const destinations = readList(reader.string(), maxDestinations, "destinations");
      return { type: "restrict-destination", destinations: destinations.map(decodeDestination) };
    }
    case associatedCerts: {
      const certsOnly = reader.bool();
      const certificates = readList(reader.string(), maxCertificates, "certificates");
      return { type: "associated-certs", certsOnly, certificates };
    }
    case onlyKeys: {
      const strings = readList(reader.string(), maxFingerprints, "fingerprints");
      const fingerprints = strings.map((bytes) => bytes.toString("latin1"));
      if (fingerprints.length > 0 && fingerprints.every(isFingerprint)) {
        return { type: "only-keys", fingerprints };
      }
      throw malformed(`Invalid fingerprints in the constraint "${onlyKeys}".`);
    }
    case keepEndedCertificate:
      return { type: "keep-ended-certificate" };
    case skProvider:
      return { type: "sk-provider", provider: reader.cString() };
    default:
      throw new Failure("unsupported", `The constraint "${name}" is not supported.`);
  }
}

function readList(bytes: Buffer, max: number, noun: string): Buffer[] {
  const strings = readStrings(bytes);
  if (strings.length <= max) return strings;
  throw new Failure("too-large", `More than ${max} ${noun} in a constraint are not accepted.`);
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
    case "only-keys": {
      const list = new Writer();
      for (const fingerprint of constraint.fingerprints) list.text(fingerprint);
      writer.byte(constraintNumbers.extension).text(onlyKeys).string(list.finish());
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
    throw malformed("Invalid origin of a destination.");
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
