/** The attributes of a PKCS#11 URI as they stand in its text (RFC 7512, section 2.3). */
import { Failure } from "../protocol/failure.ts";
import { type Characters, charactersOf, decodePercent, unreserved } from "./percent-encoding.ts";
import { type AttributeName, pathAttributes, queryAttributes, scheme } from "./pkcs11-uri-names.ts";
import { refusePin } from "./pkcs11-uri-pin.ts";

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

/** One part between two delimiters. */
interface Part {
  /** The name as it was written; all of a part that has no "=". */
  readonly name: string;
  /** Still encoded; undefined for a part that has no "=". */
  readonly encoded: string | undefined;
}

const form = "A PKCS#11 URI looks like this: pkcs11:token=my%20card;object=my%20key";

/** The failure of a text that is no PKCS#11 URI, or of one that is of no use here. */
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
  const path = partsOf(text.slice(scheme.length, mark < 0 ? undefined : mark), pathComponent);
  const query = partsOf(mark < 0 ? "" : text.slice(mark + 1), queryComponent);
  const values = new Map<AttributeName, Buffer>();
  for (const part of path) readPart(part, pathComponent, values);
  for (const part of query) readPart(part, queryComponent, values);
  return values;
}

function partsOf(text: string, { delimiter }: Component): Part[] {
  if (text === "") return [];
  return text.split(delimiter).map((part) => {
    const end = part.indexOf("=");
    if (end < 0) return { name: part, encoded: undefined };
    return { name: part.slice(0, end), encoded: part.slice(end + 1) };
  });
}

function readPart(
  { name, encoded }: Part,
  component: Component,
  values: Map<AttributeName, Buffer>,
): void {
  if (encoded === undefined || !/^[A-Za-z0-9_-]+$/.test(name)) {
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
