import test from "ava";
import fc from "fast-check";
import { plainText } from "./plain-text.ts";

test("text without control characters stays as it is", (t) => {
  for (const text of ["", "PIV AUTH key", "Schlüssel für Österreich", "鍵 🔑"]) {
    t.is(plainText(text), text);
  }
});

test("control characters are replaced, each by one", (t) => {
  t.is(
    plainText("a\x1b[31mb\n\r\t\0\x7f\x9bc"),
    "a\ufffd[31mb\ufffd\ufffd\ufffd\ufffd\ufffd\ufffdc",
  );
});

test("a long text is cut, and never within a character", (t) => {
  t.is(plainText("x".repeat(1_000_000)), "x".repeat(255));
  t.is(plainText("🔑".repeat(1000)), "🔑".repeat(255));
  t.is(plainText(`x${"🔑".repeat(1000)}`), `x${"🔑".repeat(254)}`);
});

test("nothing that comes out has a control character or more characters than went in", (t) => {
  fc.assert(
    fc.property(fc.string({ unit: "binary", maxLength: 600 }), (text) => {
      const plain = plainText(text);
      t.notRegex(plain, /\p{Cc}/u);
      t.true(plain.length <= text.length);
      t.is(plainText(plain), plain);
    }),
  );
});
