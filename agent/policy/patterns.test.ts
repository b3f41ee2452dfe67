import test from "ava";
import fc from "fast-check";
import { matchesPattern } from "./patterns.ts";

test("patterns match as the same regular expressions do", (t) => {
  const letters = fc.array(fc.constantFrom("a", "b", "/"), { maxLength: 12 });
  const symbols = fc.array(fc.constantFrom("a", "b", "/", "*", "?"), { maxLength: 8 });
  fc.assert(
    fc.property(letters, symbols, (text, pattern) => {
      const expression = pattern.join("").replace(/\*/g, ".*").replace(/\?/g, ".");
      const expected = new RegExp(`^${expression}$`).test(text.join(""));
      t.is(matchesPattern(text.join(""), pattern.join("")), expected);
    }),
    { numRuns: 2000 },
  );
});

test("a pattern of many stars takes no long time", (t) => {
  t.false(matchesPattern("a".repeat(20_000), `${"*a".repeat(50)}b`));
});
