/**
 * The syntax of PKCS#11 URIs (RFC 7512, section 2.3): splits a URI into attributes, and refuses PINs.
 * The standard allows PINs (section 2.4), but other users can read command lines in the process list.
 */
import { Failure } from "../protocol/failure.ts";
import { type Characters, charactersOf, decodePercent, unreserved } from "./percent-encoding.ts";

export const scheme = "pkcs11:";

/** The path attributes, which select tokens and objects, in the order of the standard's grammar. */
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

/** The query attributes, which locate the library. Those for PINs are refused. */
export const queryAttributes = ["module-name", "module-path"] as const;

/** The name of a supported attribute. */
export type AttributeName = (typeof pathAttributes)[number] | (typeof queryAttributes)[number];

/** The decoded values of a URI's attributes. */
export type AttributeValues = ReadonlyMap<AttributeName, Buffer>;

const available = ":[]@!$'()*+,=";

/** The characters that may appear unescaped in the path. */
export const pathCharacters = charactersOf(`${unreserved}${available}&`);
/** The characters that may appear unescaped in the query. */
export const queryCharacters = charactersOf(`${unreserved}${available}/?|`);

/** The syntax of the path or the query. */
interface Component {
  readonly delimiter: string;
  readonly characters: Characters;
  readonly names: readonly AttributeName[];
  /** The names of the other component, and where that is, for messages. */
  readonly misplaced: readonly AttributeName[];
  readonly otherPlace: string;
  /** Whether unknown attributes are ignored. */
  readonly ignoresUnknown: boolean;
}

const pathComponent: Component = {
  delimiter: ";",
  characters: pathCharacters,
  names: pathAttributes,
  misplaced: queryAttributes,
  otherPlace: 'behind the "?"',
  ignoresUnknown: false,
};

const queryComponent: Component = {
  delimiter: "&",
  characters: queryCharacters,
  names: queryAttributes,
  misplaced: pathAttributes,
  otherPlace: 'before the "?"',
  ignoresUnknown: true,
};

const form = "A PKCS#11 URI looks like this: pkcs11:token=my%20card;object=my%20key";

/** The failure for an invalid or unsupported PKCS#11 URI. */
export function malformedUri(sentence: string, hint: string = form): Failure {
  return new Failure("malformed", sentence, hint);
}

/**
 * Splits a URI into attributes, each of which may occur once.
 *
 * Well-formed unknown attributes in the query are ignored, even repeated. In the path they are an
 * error: ignoring one would match more than the URI selects.
 * @param text the whole URI, with any scheme
 * @throws {Failure} malformed; the sentence never quotes a value that may be a PIN
 */
export function readAttributes(text: string): AttributeValues {
  // First, so that no later error quotes a part of a PIN.
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
    throw malformedUri("Invalid attribute in the URI.", hint);
  }
  const known = component.names.find((attribute) => attribute === name);
  if (known === undefined) checkIgnorable(name, component);
  const value = decodePercent(encoded, component.characters);
  if (known === undefined) return;
  if (values.has(known)) throw malformedUri(`The URI has the attribute ${known} twice.`);
  values.set(known, value);
}

/** @throws {Failure} malformed, unless an unknown attribute may be ignored */
function checkIgnorable(name: string, component: Component): void {
  const { names, misplaced, otherPlace, ignoresUnknown } = component;
  const standard = name.toLowerCase();
  if (names.some((attribute) => attribute === standard)) {
    throw malformedUri(`The attribute ${name} of the URI is written in small letters.`);
  }
  if (misplaced.some((attribute) => attribute === standard)) {
    throw malformedUri(`The attribute ${name} of the URI belongs ${otherPlace}.`);
  }
  if (ignoresUnknown) return;
  const sentence = `The attribute ${name} of the URI is not known, so that nothing can match it.`;
  throw malformedUri(sentence, "Leave it out.");
}

const attributeNames: readonly AttributeName[] = [...pathAttributes, ...queryAttributes];

const pinHint =
  "Leave it out: ssh-add asks for the PIN; scripts answer with SSH_ASKPASS and SSH_ASKPASS_REQUIRE=force.";

/** Text between two delimiters, with the one that ends it; usually an attribute. */
interface Piece {
  readonly text: string;
  readonly holds: "pin" | "source" | "other";
}

/**
 * Refuses a URI with a PIN attribute in any place.
 * @throws {Failure} malformed; the sentence quotes nothing of the URI
 */
function refusePin(uri: string): void {
  const found = piecesOf(uri).find(({ holds }) => holds !== "other");
  if (found === undefined) return;
  const sentence =
    found.holds === "source"
      ? "The attribute pin-source is not accepted: the agent reads no PIN from files or programs that a client names."
      : "The attribute pin-value is not accepted: everybody on the machine can see a PIN on a command line.";
  throw new Failure("malformed", sentence, pinHint);
}

/**
 * Redacts the value of `pin-value` in a URI, valid or not, for display. An unescaped PIN may contain
 * delimiters, so everything up to the next standard attribute is redacted.
 */
export function hidePin(uri: string): string {
  let shown = uri.slice(0, scheme.length);
  let isHiding = false;
  let delimiter = "";
  for (const { text, holds } of piecesOf(uri)) {
    if (isHiding && (holds === "pin" || isStandardAttribute(text))) {
      shown += delimiter;
      isHiding = false;
    }
    if (holds === "pin") {
      shown += "pin-value=…";
      isHiding = true;
    } else if (!isHiding) shown += text;
    delimiter = text.slice(-1);
  }
  return shown;
}

/** Splits at every delimiter, because an attribute may follow the wrong one. */
function piecesOf(uri: string): Piece[] {
  const pieces = uri.slice(scheme.length).split(/(?<=[;?&])/);
  return pieces.map((text) => ({ text, holds: contentOf(attributeName(text)) }));
}

/** Recognizes the names of drafts and other programs too: x-pin-value, pin. */
function contentOf(name: string): Piece["holds"] {
  const words = name.toLowerCase().split(/[-_]/);
  if (!words.includes("pin")) return "other";
  return words.includes("source") ? "source" : "pin";
}

function isStandardAttribute(text: string): boolean {
  const name = attributeName(text);
  return text[name.length] === "=" && attributeNames.some((known) => known === name);
}

function attributeName(text: string): string {
  return /^[\w-]*/.exec(text)?.[0] ?? "";
}
