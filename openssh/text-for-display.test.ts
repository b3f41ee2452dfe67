import test from "ava";
import fc from "fast-check";
import { sanitizeForDisplay, sanitizeName, stringifyForDisplay } from "./text-for-display.ts";

test("ordinary text is unchanged, in any language", (t) => {
  const ordinary = [
    "",
    "PIV AUTH key",
    "C:\\keys",
    "Schlüssel für Österreich",
    "鍵 🔑 ❤️ 👩‍🚀",
    "می‌خواهم",
  ];
  for (const text of ordinary) {
    t.is(sanitizeForDisplay(text), text);
    t.is(sanitizeName(text), text);
    t.is(stringifyForDisplay(text), JSON.stringify(text));
  }
});

test("control characters become octal escapes, on the same line", (t) => {
  t.is(sanitizeForDisplay("a\u001b[2Jb\rc\nd\u007f"), "a\\033[2Jb\\015c\\012d\\177");
  t.is(sanitizeForDisplay("\0\u009b1m"), "\\000\\302\\2331m");
  t.is(sanitizeForDisplay("tab\tand é stay"), "tab\tand é stay");
  t.is(sanitizeForDisplay("a\u2028b\u2029"), "a\\342\\200\\250b\\342\\200\\251");
});

test("bidirectional controls and invisible characters are escaped too", (t) => {
  for (const code of [
    0xad, 0x61c, 0x200b, 0x200e, 0x200f, 0x202a, 0x202e, 0x2060, 0x2066, 0x2069, 0x3164, 0xfeff,
    0xe0041,
  ]) {
    t.regex(sanitizeForDisplay(`a${String.fromCodePoint(code)}b`), /^a(\\[0-7]{3}){2,4}b$/);
  }
});

test("invalid UTF-8 is escaped too", (t) => {
  t.is(sanitizeForDisplay("no \udcff text"), "no \\377 text");
});

test("in names each unsafe character is replaced by U+FFFD", (t) => {
  t.is(
    sanitizeName("a\x1b[31mb\n\r\t\0\x7f\x9bc"),
    "a\ufffd[31mb\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdc",
  );
  t.is(sanitizeName("\u202egnp\u2028\udcff"), "\ufffdgnp\ufffd\ufffd");
});

test("a long name is truncated, never within a character", (t) => {
  t.is(sanitizeName("x".repeat(1_000_000)), "x".repeat(255));
  t.is(sanitizeName("🔑".repeat(1000)), "🔑".repeat(255));
  t.is(sanitizeName(`x${"🔑".repeat(1000)}`), `x${"🔑".repeat(254)}`);
});

const unsafe = /[\p{Cc}\p{Cs}\p{Bidi_Control}\p{Zl}\p{Zp}]/u;

test("sanitized text has no unsafe characters", (t) => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 600 }), (text) => {
      const shown = sanitizeForDisplay(text);
      t.notRegex(shown.replaceAll("\t", ""), unsafe);
      t.is(sanitizeForDisplay(shown), shown);
      const name = sanitizeName(text);
      t.notRegex(name, unsafe);
      t.true(name.length <= text.length);
      t.is(sanitizeName(name), name);
    }),
  );
});

test("sanitized JSON parses to the same value", (t) => {
  fc.assert(
    fc.property(fc.jsonValue({ stringUnit: "binary" }), (value) => {
      const json = stringifyForDisplay(value);
      t.notRegex(json, unsafe);
      t.deepEqual(JSON.parse(json), JSON.parse(JSON.stringify(value)));
    }),
  );
  t.is(stringifyForDisplay("\u202e\u009b\u{e0041}\udcff"), '"\\u202e\\u009b\\udb40\\udc41\\udcff"');
});
