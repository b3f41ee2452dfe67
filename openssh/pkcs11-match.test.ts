import test from "ava";
import fc from "fast-check";
import { bytes } from "../protocol/arbitraries.ts";
import { token as anyToken } from "./pkcs11-arbitraries.ts";
import { matchesKey, matchesToken, type TokenPlace } from "./pkcs11-match.ts";
import { type Pkcs11Uri, parsePkcs11Uri } from "./pkcs11-uri.ts";

const token = { label: "my card", manufacturer: "Example", model: "v2", serial: "0042" };
const place: TokenPlace = {
  library: { manufacturer: "Maker", description: "Cards", version: { major: 2, minor: 0 } },
  slot: { id: 7n, manufacturer: "Readers", description: "Reader 0" },
};
const key = { id: Buffer.of(1, 2), label: "PIV key" };

test("a URI matches a token if all its attributes match", (t) => {
  const cases: [string, boolean][] = [
    ["", true],
    ["token=my%20card", true],
    ["token=my%20card;manufacturer=Example;model=v2;serial=0042", true],
    ["object=other;id=%09;type=private", true],
    ["token=My%20card", false],
    ["token=my%20card%20", false],
    ["token=my", false],
    ["token=", false],
    ["token=my%20card;serial=42", false],
    ["manufacturer=example", false],
    ["model=", false],
  ];
  for (const [path, expected] of cases) {
    t.is(matchesToken(parsePkcs11Uri(`pkcs11:${path}`), token), expected, path);
  }
});

test("an empty attribute matches an empty value", (t) => {
  const uri = parsePkcs11Uri("pkcs11:serial=");
  t.true(matchesToken(uri, { ...token, serial: "" }));
  t.false(matchesToken(uri, token));
});

test("library and slot attributes match only with a place", (t) => {
  const cases: [string, boolean][] = [
    ["slot-id=7", true],
    ["slot-id=8", false],
    ["slot-manufacturer=Readers;slot-description=Reader%200", true],
    ["slot-description=Reader", false],
    ["library-manufacturer=Maker;library-description=Cards;library-version=2", true],
    ["library-version=2.1", false],
    ["library-version=1.0", false],
    ["library-description=cards", false],
    ["token=my%20card;slot-id=7", true],
    ["token=other;slot-id=7", false],
  ];
  for (const [path, expected] of cases) {
    const uri = parsePkcs11Uri(`pkcs11:${path}`);
    t.is(matchesToken(uri, token, place), expected, path);
    t.false(matchesToken(uri, token), path);
  }
});

test("a URI matches a key by ID and label, byte for byte", (t) => {
  const cases: [string, boolean][] = [
    ["", true],
    ["token=other", true],
    ["id=%01%02", true],
    ["id=%01%02;object=PIV%20key", true],
    ["id=%01", false],
    ["id=%01%02%00", false],
    ["id=", false],
    ["object=PIV%20Key", false],
    ["id=%01%02;object=", false],
  ];
  for (const [path, expected] of cases) {
    t.is(matchesKey(parsePkcs11Uri(`pkcs11:${path}`), key), expected, path);
  }
});

test("the object's type is compared if known", (t) => {
  const uri = parsePkcs11Uri("pkcs11:type=cert");
  t.true(matchesKey(uri, key));
  t.true(matchesKey(uri, { ...key, type: "cert" }));
  t.false(matchesKey(uri, { ...key, type: "public" }));
});

test("a URI matches the token and key that it was made from, and no others", (t) => {
  fc.assert(
    fc.property(anyToken, anyToken, bytes(8), bytes(8), (one, other, a, b) => {
      const uri: Pkcs11Uri = { ...parsePkcs11Uri("pkcs11:"), token: one.label, id: a };
      t.true(matchesToken(uri, one));
      t.is(matchesToken(uri, other), one.label === other.label);
      t.true(matchesKey(uri, { id: a, label: other.label }));
      t.is(matchesKey(uri, { id: b, label: "" }), a.equals(b));
    }),
  );
});
