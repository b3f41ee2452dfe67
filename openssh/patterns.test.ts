import test from "ava";
import fc from "fast-check";
import { matchesHostList, matchesPattern, matchesPatternList } from "./patterns.ts";

test("patterns match as the same regular expressions do", (t) => {
  const letters = fc.array(fc.constantFrom("a", "b", "/"), { maxLength: 80 });
  const symbols = fc.array(fc.constantFrom("a", "b", "/", "*", "?"), { maxLength: 12 });
  const long = fc.array(fc.constantFrom("a", "a?", "??????????", "*"), { maxLength: 40 });
  fc.assert(
    fc.property(letters, fc.oneof(symbols, long), (text, pattern) => {
      const expression = pattern.join("").replace(/\*+/g, ".*").replace(/\?/g, ".");
      const expected = new RegExp(`^${expression}$`).test(text.join(""));
      t.is(matchesPattern(text.join(""), pattern.join("")), expected);
    }),
    { numRuns: 2000 },
  );
});

test("a pattern made from a text matches it", (t) => {
  const text = fc.array(fc.constantFrom("a", "b", "."), { minLength: 60, maxLength: 400 });
  const changes = fc.array(fc.tuple(fc.nat(399), fc.constantFrom("?", "*")), { minLength: 1 });
  fc.assert(
    fc.property(text, changes, (letters, changed) => {
      const pattern: string[] = [...letters];
      for (const [at, symbol] of changed) pattern[at % pattern.length] = symbol;
      t.true(matchesPattern(letters.join(""), pattern.join("")));
    }),
  );
});

test("wildcards stand for bytes, not for characters", (t) => {
  t.false(matchesPattern("é", "?"));
  t.true(matchesPattern("é", "??"));
  t.true(matchesPattern("a\udcffb", "a?b"));
  t.true(matchesPattern("line\nfeed\0", "l*"));
});

test("pathological patterns take linear time", (t) => {
  const text = "a".repeat(4096);
  for (const pattern of [
    `${"a*".repeat(500)}b`,
    `${"*a".repeat(500)}b`,
    `${"*".repeat(1000)}b`,
    `*a?${"a".repeat(1000)}b`,
    `*${"a?".repeat(500)}b*`,
  ]) {
    t.false(matchesPattern(text, pattern), pattern);
    t.true(matchesPattern(`${text.slice(1)}b`, pattern), pattern);
  }
  const hugePattern = `${"a*".repeat(1_000_000)}b`;
  t.false(matchesPattern("a".repeat(1_000_000), hugePattern));
  t.false(matchesPatternList(text, `*,${hugePattern}`));
});

test("a list matches by one pattern, unless a negated one matches", (t) => {
  t.true(matchesPatternList("b", "a,b"));
  t.false(matchesPatternList("ab", "a,b"));
  t.false(matchesPatternList("b", "*,!b"));
  t.false(matchesPatternList("b", "!b,*"));
  t.true(matchesPatternList("c", "*,!b"));
  t.false(matchesPatternList("c", "!b"));
  t.false(matchesPatternList("c", ""));
  t.false(matchesPatternList("", ""));
  t.true(matchesPatternList("", "a,,b"));
  t.false(matchesPatternList("", "a,"));
});

test("a pattern or text that is too long matches no list", (t) => {
  t.true(matchesPatternList("a", `*,!${"b".repeat(1022)}`));
  t.false(matchesPatternList("a", `*,!${"b".repeat(1023)}`));
  t.false(matchesPatternList("a", `*,!${"é".repeat(512)}`));
  t.true(matchesPatternList("a".repeat(4096), "*"));
  t.false(matchesPatternList("a".repeat(4097), "*"));
});

test("hosts ignore ASCII case", (t) => {
  t.true(matchesHostList("Host.Example", "*.EXAMPLE"));
  t.false(matchesHostList("host", "*,!HOST"));
  t.false(matchesHostList("\u212a", "k"));
  t.false(matchesHostList("É", "é"));
});
