/** Fuzz tests of PKCS#11 URIs: errors, redaction, and time. */
import test from "ava";
import fc from "fast-check";
import { Failure } from "../protocol/failure.ts";
import { pkcs11Uri, spelling } from "./pkcs11-arbitraries.ts";
import { formatPkcs11Uri, parsePkcs11Uri } from "./pkcs11-uri.ts";
import { hidePin, pathAttributes, queryAttributes } from "./pkcs11-uri-syntax.ts";

/** The URI; undefined for a malformed one. */
function tryParse(text: string): ReturnType<typeof parsePkcs11Uri> | undefined {
  try {
    return parsePkcs11Uri(text);
  } catch (error) {
    if (error instanceof Failure && error.code === "malformed") return undefined;
    throw error;
  }
}

/** Pieces with and without a meaning in URIs. */
const piece = fc.oneof(
  fc.constantFrom(...pathAttributes, ...queryAttributes, "pin-value", "pin-source", "x-a"),
  fc.constantFrom(";", "&", "?", "=", "%", ":", "/", "%00", "%fF", "%zz", "1", "2.5", "256"),
  fc.string({ maxLength: 4 }),
  fc.string({ unit: "binary", maxLength: 4 }),
);

/** Text that resembles a URI. */
const nearly = fc.array(piece, { maxLength: 30 }).map((pieces) => `pkcs11:${pieces.join("")}`);

/** A URI with a deletion, a change or an insertion. */
const damaged = fc
  .tuple(pkcs11Uri.chain(spelling), fc.nat(), fc.nat({ max: 2 }), piece)
  .map(([{ text }, place, cut, filling]) => {
    const at = place % (text.length + 1);
    return `${text.slice(0, at)}${filling}${text.slice(at + cut)}`;
  });

/** Possibly ill-formed UTF-16. */
const units = fc
  .array(fc.nat({ max: 0xffff }), { maxLength: 60 })
  .map((codes) => `pkcs11:token=${String.fromCharCode(...codes)}`);

const anything = fc.oneof(fc.string(), fc.string({ unit: "binary" }), nearly, damaged, units);

test("any text is a URI or malformed, and a URI can be formatted", (t) => {
  fc.assert(
    fc.property(anything, (text) => {
      const uri = tryParse(text);
      if (uri !== undefined) t.deepEqual(parsePkcs11Uri(formatPkcs11Uri(uri)), uri);
    }),
    { numRuns: 1000 },
  );
  t.pass();
});

test("a PIN is never shown, whatever surrounds it", (t) => {
  const pin = "271828182845";
  fc.assert(
    fc.property(
      fc.oneof(nearly, damaged),
      fc.constantFrom(";", "?", "&"),
      fc.constantFrom("pin-value", "PIN-value", "x-pin-value", "pin"),
      piece,
      (text, delimiter, name, more) => {
        const whole = `${text}${delimiter}${name}=${more.replace(/[;&?]/g, "")}${pin}`;
        t.false(hidePin(whole).includes(pin), whole);
        const { message, hint } = t.throws(() => parsePkcs11Uri(whole), { instanceOf: Failure });
        t.false(`${message}${hint}`.includes(pin), whole);
      },
    ),
    { numRuns: 1000 },
  );
});

/** Texts that grow in various ways; the second half is malformed. */
const growing: readonly ((length: number) => string)[] = [
  (length) => `token=${"a".repeat(length)}`,
  (length) => `token=${"%41".repeat(length / 3)}`,
  (length) => `id=${"%ff".repeat(length / 3)}`,
  (length) => `token=${"%ff%c3".repeat(length / 6)}`,
  (length) => `slot-id=${"0".repeat(length)}`,
  (length) => `?${"x-a=b&".repeat(length / 6)}x=y`,
  (length) => `?${"-_".repeat(length / 2)}=`,
  (length) => `slot-id=${"9".repeat(length)}`,
  (length) => `slot-id=${"0".repeat(length)}x`,
  (length) => `library-version=${"1".repeat(length)}.`,
  (length) => `library-version=${"1.".repeat(length / 2)}`,
  (length) => ";".repeat(length),
  (length) => "?".repeat(length),
  (length) => "=".repeat(length),
  (length) => "%".repeat(length),
  (length) => "pin-".repeat(length / 4),
  (length) => `?${"&pin-".repeat(length / 5)}`,
  (length) => `?${"pin-value=&".repeat(length / 11)}`,
  (length) => `type=${"private".repeat(length / 7)}`,
  (length) => `?module-name=${"../".repeat(length / 3)}`,
  (length) => `token=${"\udcff".repeat(length)}`,
];

/** The minimum processor time of some rounds, in microseconds. */
function timeOf(text: string): number {
  let least = Number.POSITIVE_INFINITY;
  for (let round = 0; round < 3; round++) {
    const start = process.cpuUsage();
    const uri = tryParse(text);
    if (uri !== undefined) formatPkcs11Uri(uri);
    hidePin(text);
    const { user, system } = process.cpuUsage(start);
    least = Math.min(least, user + system);
  }
  return least;
}

test("parsing takes linear time", (t) => {
  const length = 8_192;
  const factor = 16;
  for (const make of growing) {
    const short = Math.max(timeOf(`pkcs11:${make(length)}`), 1);
    const ratio = timeOf(`pkcs11:${make(length * factor)}`) / short;
    // Quadratic time would give 256.
    t.true(ratio < 128, `${make(12)}: ${ratio}`);
  }
});
