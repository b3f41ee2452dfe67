/** Random PKCS#11 URIs, and spellings of them, for property tests. */
import fc from "fast-check";
import { bytes, text } from "../protocol/arbitraries.ts";
import type { TokenDescription } from "../protocol/extensions/list-providers.ts";
import { formatPkcs11Uri, keyObjectTypes, type Pkcs11Uri } from "./pkcs11-uri.ts";

function optional<Value>(value: fc.Arbitrary<Value>): fc.Arbitrary<Value | undefined> {
  return fc.option(value, { nil: undefined });
}

const byte = fc.nat({ max: 255 });

/** A file name: text that is not empty and does not match `forbidden`. */
function fileText(forbidden: RegExp): fc.Arbitrary<string> {
  return text.map((some) => some.replace(forbidden, "x") || "x");
}

/** A token. */
export const token: fc.Arbitrary<TokenDescription> = fc.record({
  label: text,
  manufacturer: text,
  model: text,
  serial: text,
});

/** Any URI. */
export const pkcs11Uri: fc.Arbitrary<Pkcs11Uri> = fc.record({
  token: optional(text),
  manufacturer: optional(text),
  serial: optional(text),
  model: optional(text),
  libraryManufacturer: optional(text),
  libraryVersion: optional(fc.record({ major: byte, minor: byte })),
  libraryDescription: optional(text),
  object: optional(text),
  type: optional(fc.constantFrom(...keyObjectTypes)),
  id: optional(bytes(20)),
  slotManufacturer: optional(text),
  slotDescription: optional(text),
  slotId: optional(fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })),
  moduleName: optional(fileText(/[/\0]/g)),
  modulePath: optional(fileText(/\0/g)),
});

/** A URI and one of its spellings. */
interface Spelling {
  readonly uri: Pkcs11Uri;
  readonly text: string;
}

/** Another spelling of a URI: other order, other escapes, added vendor attributes. */
export function spelling(uri: Pkcs11Uri): fc.Arbitrary<Spelling> {
  const [, path = "", query = ""] = /^pkcs11:([^?]*)\??(.*)$/.exec(formatPkcs11Uri(uri)) ?? [];
  const vendor = fc.constantFrom([], ["x-more=1"], ["x-more=%2F", "x-more=?"]);
  const scheme = fc.constantFrom("pkcs11:", "PKCS11:", "Pkcs11:");
  return fc
    .tuple(scheme, respelled(path, ";"), respelled(query, "&"), vendor)
    .map(([start, attributes, access, more]) => {
      const behind = [...access, ...more].join("&");
      return { uri, text: `${start}${attributes.join(";")}${behind === "" ? "" : "?"}${behind}` };
    });
}

/** The attributes in any order, each with other escapes. */
function respelled(component: string, delimiter: string): fc.Arbitrary<string[]> {
  const parts = component === "" ? [] : component.split(delimiter);
  return fc
    .shuffledSubarray(parts, { minLength: parts.length })
    .chain((shuffled) => fc.tuple(...shuffled.map(reencoded)));
}

/** An attribute with some characters escaped, in upper or lower case. */
function reencoded(attribute: string): fc.Arbitrary<string> {
  const start = attribute.indexOf("=") + 1;
  const symbols = attribute.slice(start).match(/%..|[^%]/g) ?? [];
  const ways = fc.array(fc.nat({ max: 3 }), {
    minLength: symbols.length,
    maxLength: symbols.length,
  });
  return ways.map((chosen) => {
    const value = symbols.map((symbol, at) => respell(symbol, chosen[at] ?? 0));
    return `${attribute.slice(0, start)}${value.join("")}`;
  });
}

function respell(symbol: string, way: number): string {
  const escaped =
    symbol.length > 1 ? symbol : `%${symbol.charCodeAt(0).toString(16).padStart(2, "0")}`;
  if (way === 1) return escaped.toUpperCase();
  if (way === 2) return escaped.toLowerCase();
  return symbol;
}
