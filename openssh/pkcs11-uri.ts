/**
 * PKCS#11 URIs (RFC 7512), which select tokens and keys and locate the library.
 *
 * `pkcs11:token=my%20card;id=%01?module-path=/usr/lib/libcard.so` selects the key with CKA_ID 01 on
 * the token "my card". The path before the "?" must match; the query after it locates the library.
 */
import { decodeText, encodeText } from "../protocol/text.ts";
import { type Characters, charactersOf, encodePercent } from "./percent-encoding.ts";
import {
  type AttributeName,
  type AttributeValues,
  malformedUri,
  pathCharacters,
  queryCharacters,
  readAttributes,
  scheme,
} from "./pkcs11-uri-syntax.ts";

/** The object classes of an SSH key, by their names in URIs. */
export const keyObjectTypes = ["public", "private", "cert"] as const;

/** An object class: CKO_PUBLIC_KEY, CKO_PRIVATE_KEY or CKO_CERTIFICATE. */
export type KeyObjectType = (typeof keyObjectTypes)[number];

/** A CK_VERSION: each number is a byte. */
export interface LibraryVersion {
  readonly major: number;
  readonly minor: number;
}

/**
 * A PKCS#11 URI. An undefined attribute matches anything; an empty one matches an empty value. Texts
 * are decoded by `decodeText`.
 */
export interface Pkcs11Uri {
  /** CK_TOKEN_INFO: label, manufacturerID, serialNumber, model. */
  readonly token: string | undefined;
  readonly manufacturer: string | undefined;
  readonly serial: string | undefined;
  readonly model: string | undefined;
  /** CK_INFO: manufacturerID, libraryVersion, libraryDescription. */
  readonly libraryManufacturer: string | undefined;
  readonly libraryVersion: LibraryVersion | undefined;
  readonly libraryDescription: string | undefined;
  /** CKA_LABEL, CKA_CLASS and CKA_ID. */
  readonly object: string | undefined;
  readonly type: KeyObjectType | undefined;
  readonly id: Buffer | undefined;
  /** CK_SLOT_INFO: manufacturerID, slotDescription; and CK_SLOT_ID, at most 64 bits. */
  readonly slotManufacturer: string | undefined;
  readonly slotDescription: string | undefined;
  readonly slotId: bigint | undefined;
  /** The library's file name without prefix "lib" and suffix. */
  readonly moduleName: string | undefined;
  /** The library's path. */
  readonly modulePath: string | undefined;
}

/** Whether a text has the scheme of PKCS#11 URIs; it may be invalid otherwise. */
export function isPkcs11Uri(text: string): boolean {
  return text.slice(0, scheme.length).toLowerCase() === scheme;
}

/**
 * Parses a PKCS#11 URI (RFC 7512, sections 2.3 and 2.4) in linear time.
 * @throws {Failure} malformed: an invalid URI, an unknown or repeated attribute, an object class that
 *   cannot be an SSH key, or a PIN, which is not quoted
 */
export function parsePkcs11Uri(text: string): Pkcs11Uri {
  if (!isPkcs11Uri(text)) throw malformedUri(`A PKCS#11 URI begins with "${scheme}".`);
  const values = readAttributes(text);
  return {
    token: textOf(values, "token"),
    manufacturer: textOf(values, "manufacturer"),
    serial: textOf(values, "serial"),
    model: textOf(values, "model"),
    libraryManufacturer: textOf(values, "library-manufacturer"),
    libraryVersion: parseVersion(textOf(values, "library-version")),
    libraryDescription: textOf(values, "library-description"),
    object: textOf(values, "object"),
    type: parseType(textOf(values, "type")),
    id: values.get("id"),
    slotManufacturer: textOf(values, "slot-manufacturer"),
    slotDescription: textOf(values, "slot-description"),
    slotId: parseSlotId(textOf(values, "slot-id")),
    moduleName: checkName(textOf(values, "module-name")),
    modulePath: checkPath(textOf(values, "module-path")),
  };
}

/**
 * Formats a URI canonically: equal URIs have equal text. Attributes have a fixed order, escapes occur
 * only where needed, and `id` is escaped completely, as RFC 7512 (section 2.3) advises. Values escape
 * "&", "?" and "'" too, so that the text can be quoted in a shell and no part of a value looks like an
 * attribute.
 */
export function formatPkcs11Uri(uri: Partial<Pkcs11Uri>): string {
  const { libraryVersion, id, slotId } = uri;
  const path = joined(";", [
    ["token", encoded(uri.token, pathLiterals)],
    ["manufacturer", encoded(uri.manufacturer, pathLiterals)],
    ["serial", encoded(uri.serial, pathLiterals)],
    ["model", encoded(uri.model, pathLiterals)],
    ["library-manufacturer", encoded(uri.libraryManufacturer, pathLiterals)],
    ["library-version", libraryVersion && `${libraryVersion.major}.${libraryVersion.minor}`],
    ["library-description", encoded(uri.libraryDescription, pathLiterals)],
    ["object", encoded(uri.object, pathLiterals)],
    ["type", uri.type],
    ["id", id && encodePercent(id, new Set())],
    ["slot-manufacturer", encoded(uri.slotManufacturer, pathLiterals)],
    ["slot-description", encoded(uri.slotDescription, pathLiterals)],
    ["slot-id", slotId?.toString()],
  ]);
  const query = joined("&", [
    ["module-name", encoded(uri.moduleName, queryLiterals)],
    ["module-path", encoded(uri.modulePath, queryLiterals)],
  ]);
  return `${scheme}${path}${query === "" ? "" : "?"}${query}`;
}

const escapedToo = charactersOf("'&?");
const pathLiterals = without(pathCharacters, escapedToo);
const queryLiterals = without(queryCharacters, escapedToo);

function without(characters: Characters, others: Characters): Characters {
  return new Set([...characters].filter((code) => !others.has(code)));
}

function encoded(text: string | undefined, literals: Characters): string | undefined {
  return text === undefined ? undefined : encodePercent(encodeText(text), literals);
}

function joined(
  delimiter: string,
  attributes: readonly (readonly [AttributeName, string | undefined])[],
): string {
  return attributes
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}`)
    .join(delimiter);
}

function textOf(values: AttributeValues, name: AttributeName): string | undefined {
  const bytes = values.get(name);
  return bytes === undefined ? undefined : decodeText(bytes);
}

/** `M.m`, one byte each, or `M` for `M.0`. */
function parseVersion(text: string | undefined): LibraryVersion | undefined {
  if (text === undefined) return undefined;
  const [, major, minor = "0"] = /^(\d+)(?:\.(\d+))?$/.exec(text) ?? [];
  const version = { major: Number(major), minor: Number(minor) };
  if (version.major <= 255 && version.minor <= 255) return version;
  const hint =
    "A version is one number up to 255, or two with a point between: library-version=2.5";
  throw malformedUri("Invalid library-version in the URI.", hint);
}

function parseSlotId(text: string | undefined): bigint | undefined {
  if (text === undefined) return undefined;
  const digits = /^\d+$/.test(text) ? text.replace(/^0+(?=\d)/, "") : "";
  // 64 bits have at most 20 digits; BigInt takes superlinear time for long numbers.
  const number = digits === "" || digits.length > 20 ? undefined : BigInt(digits);
  if (number !== undefined && number < 2n ** 64n) return number;
  const hint = "Give the slot's number in decimal digits, as in slot-id=0.";
  throw malformedUri("Invalid slot-id in the URI.", hint);
}

function parseType(text: string | undefined): KeyObjectType | undefined {
  if (text === undefined) return undefined;
  const type = keyObjectTypes.find((known) => known === text);
  if (type !== undefined) return type;
  const hint = `Use one of ${keyObjectTypes.join(", ")}, or leave the type out.`;
  if (text === "secret-key" || text === "data") {
    throw malformedUri(`An object of type ${text} is not an SSH key.`, hint);
  }
  throw malformedUri("Invalid object type in the URI.", hint);
}

function checkName(text: string | undefined): string | undefined {
  if (text === undefined || (text !== "" && !/[/\0]/.test(text))) return text;
  const hint = "Give a name such as softhsm2, or the library's whole path as module-path.";
  throw malformedUri("Invalid module-name in the URI.", hint);
}

function checkPath(text: string | undefined): string | undefined {
  if (text === undefined || (text !== "" && !text.includes("\0"))) return text;
  throw malformedUri("Invalid module-path in the URI.");
}
