/**
 * The text of PKCS#11 URIs (RFC 7512, section 2.3): its attributes, still without their meaning, and
 * the PINs in it. The standard allows PINs (section 2.4) and this project takes none: whoever may list
 * the processes of a machine reads the command lines of all users.
 */
import { Failure } from "../protocol/failure.ts";
import { type Characters, charactersOf, decodePercent, unreserved } from "./percent-encoding.ts";

/** What every PKCS#11 URI begins with. */
export const scheme = "pkcs11:";

/** The attributes that say what is meant, in the order of the standard's grammar. */
export const pathAttributes = [
  "token",
  "manufacturer",
  "serial",
  "model",
  "library-manufacturer",
  "library-version",
  "library-description",
  "object",
  "type",
  "id",
  "slot-manufacturer",
  "slot-description",
  "slot-id",
] as const;

/** The attributes that say how to get there; those about PINs are not taken. */
export const queryAttributes = ["module-name", "module-path"] as const;

/** The name of an attribute that is taken. */
export type AttributeName = (typeof pathAttributes)[number] | (typeof queryAttributes)[number];

/** The values of the attributes that were given, as bytes. */
export type AttributeValues = ReadonlyMap<AttributeName, Buffer>;

const available = ":[]@!$'()*+,=";

/** What may stand for itself in the path. */
export const pathCharacters = charactersOf(`${unreserved}${available}&`);
/** What may stand for itself behind the "?". */
export const queryCharacters = charactersOf(`${unreserved}${available}/?|`);

/** What may stand in one half of a URI. */
interface Component {
  readonly delimiter: string;
  readonly characters: Characters;
  readonly names: readonly AttributeName[];
  /** Names that belong into the other half, and which half that is. */
  readonly elsewhere: readonly AttributeName[];
  readonly otherHalf: string;
  /** Whether attributes of unknown meaning may be passed over, as often as they are given. */
  readonly open: boolean;
}

const pathComponent: Component = {
  delimiter: ";",
  characters: pathCharacters,
  names: pathAttributes,
  elsewhere: queryAttributes,
  otherHalf: 'behind the "?"',
  open: false,
};

const queryComponent: Component = {
  delimiter: "&",
  characters: queryCharacters,
  names: queryAttributes,
  elsewhere: pathAttributes,
  otherHalf: 'before the "?"',
  open: true,
};

const form = "A PKCS#11 URI looks like this: pkcs11:token=my%20card;object=my%20key";

/** The failure of an invalid PKCS#11 URI, or of one that is of no use here. */
export function malformedUri(sentence: string, hint: string = form): Failure {
  return new Failure("malformed", sentence, hint);
}

/**
 * Takes a URI apart.
 *
 * Each attribute may be given once. What other vendors put into the query may be repeated, has to be
 * well-formed and means nothing here. An unknown attribute of the path cannot be passed over: it
 * would narrow what is meant, and without it more would match than was asked for.
 * @param text the whole URI; its scheme is not looked at
 * @throws {Failure} malformed; the sentence never holds a value that may be a PIN
 */
export function readAttributes(text: string): AttributeValues {
  // Before anything else is said of it, lest a piece of a PIN is quoted.
  refusePin(text);
  const mark = text.indexOf("?");
  const values = new Map<AttributeName, Buffer>();
  readComponent(text.slice(scheme.length, mark < 0 ? undefined : mark), pathComponent, values);
  readComponent(mark < 0 ? "" : text.slice(mark + 1), queryComponent, values);
  return values;
}

function readComponent(
  text: string,
  component: Component,
  values: Map<AttributeName, Buffer>,
): void {
  if (text === "") return;
  for (const part of text.split(component.delimiter)) readAttribute(part, component, values);
}

function readAttribute(
  part: string,
  component: Component,
  values: Map<AttributeName, Buffer>,
): void {
  const [, name, encoded] = /^([A-Za-z0-9_-]+)=(.*)$/s.exec(part) ?? [];
  if (name === undefined || encoded === undefined) {
    const hint =
      'Attributes are written NAME=VALUE, with ";" between those before the "?" and "&" between those behind it.';
    throw malformedUri("A part of the URI is no attribute.", hint);
  }
  const known = component.names.find((attribute) => attribute === name);
  if (known === undefined) checkUnknown(name, component);
  const value = decodePercent(encoded, component.characters);
  if (known === undefined) return;
  if (values.has(known)) throw malformedUri(`The URI has the attribute ${known} twice.`);
  values.set(known, value);
}

/** @throws {Failure} malformed, unless an attribute may be passed over */
function checkUnknown(name: string, { names, elsewhere, otherHalf, open }: Component): void {
  const standard = name.toLowerCase();
  if (names.some((attribute) => attribute === standard)) {
    throw malformedUri(`The attribute ${name} of the URI is written in small letters.`);
  }
  if (elsewhere.some((attribute) => attribute === standard)) {
    throw malformedUri(`The attribute ${name} of the URI belongs ${otherHalf}.`);
  }
  if (open) return;
  const sentence = `The attribute ${name} of the URI is not known, so that nothing can match it.`;
  throw malformedUri(sentence, "Leave it out.");
}

/** The attributes that are not about PINs. */
const withoutPin: readonly AttributeName[] = [...pathAttributes, ...queryAttributes];

const pinHint =
  "Leave it out: ssh-add asks for the PIN; scripts answer with SSH_ASKPASS and SSH_ASKPASS_REQUIRE=force.";

/** One attribute, or a piece of something else, with the delimiter that ends it. */
interface Piece {
  readonly text: string;
  readonly holds: "pin" | "source" | "other";
}

/**
 * Refuses a URI with an attribute that gives a PIN or says where one is, also in a wrong place. The
 * reason holds nothing of it.
 * @throws {Failure} malformed
 */
function refusePin(uri: string): void {
  const found = piecesOf(uri).find(({ holds }) => holds !== "other");
  if (found === undefined) return;
  const sentence =
    found.holds === "source"
      ? "The attribute pin-source is not taken: the agent reads no PIN from files or programs that a client names."
      : "The attribute pin-value is not taken: everybody on the machine can see a PIN on a command line.";
  throw new Failure("malformed", sentence, pinHint);
}

/**
 * A URI as it may be shown to people, whether it is well-formed or not: the value of `pin-value`
 * becomes "…". A PIN that was not percent-encoded may hold any character, so it ends only where an
 * attribute of the standard begins: hiding too much does no harm.
 */
export function hidePin(uri: string): string {
  let shown = uri.slice(0, scheme.length);
  let hiding = false;
  let delimiter = "";
  for (const { text, holds } of piecesOf(uri)) {
    if (hiding && (holds === "pin" || hasNoPin(text))) {
      shown += delimiter;
      hiding = false;
    }
    if (holds === "pin") {
      shown += "pin-value=…";
      hiding = true;
    } else if (!hiding) shown += text;
    delimiter = text.slice(-1);
  }
  return shown;
}

/** Cut at every delimiter, for an attribute may stand behind the wrong one. */
function piecesOf(uri: string): Piece[] {
  const pieces = uri.slice(scheme.length).split(/(?<=[;?&])/);
  return pieces.map((text) => ({ text, holds: contentOf(attributeName(text)) }));
}

/** The name may be one of drafts or of other programs, too: x-pin-value, pin. */
function contentOf(name: string): Piece["holds"] {
  const words = name.toLowerCase().split(/[-_]/);
  if (!words.includes("pin")) return "other";
  return words.includes("source") ? "source" : "pin";
}

function hasNoPin(text: string): boolean {
  const name = attributeName(text);
  return text[name.length] === "=" && withoutPin.some((known) => known === name);
}

function attributeName(text: string): string {
  return /^[\w-]*/.exec(text)?.[0] ?? "";
}
