import test from "ava";
import { Exit } from "./exit.ts";
import { isOptionWord, parseFingerprintHash, readOptions } from "./getopt.ts";

/** The options of the first word, and what is left of the others. */
function read(words: string[], known: string): [string[], string[]] {
  const [word = "", ...following] = words;
  const options = [...readOptions(word, following, known)];
  return [options.map(({ letter, argument }) => `${letter}=${argument}`), following];
}

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof Exit) return `${error.message} / ${error.status} ${error.showsUsage}`;
  }
  return "accepted";
}

test("options share a word, and an argument stands beside or behind its letter", (t) => {
  t.deepEqual(read(["-ab", "c"], "ab"), [["a=", "b="], ["c"]]);
  t.deepEqual(read(["-avalue", "c"], "a:b"), [["a=value"], ["c"]]);
  t.deepEqual(read(["-ba", "-b", "c"], "a:b"), [["b=", "a=-b"], ["c"]]);
  t.deepEqual(read(["-a", ""], "a:"), [["a="], []]);
});

test("unknown options and missing arguments are refused in getopt's words", (t) => {
  t.is(
    refusal(() => read(["-x"], "a")),
    "unknown option -- x / 1 true",
  );
  t.is(
    refusal(() => read(["-:"], "a:")),
    "unknown option -- : / 1 true",
  );
  t.is(
    refusal(() => read(["-é"], "a")),
    "unknown option -- \udcc3 / 1 true",
  );
  t.is(
    refusal(() => read(["-a"], "a:")),
    "option requires an argument -- a / 1 true",
  );
  const options = readOptions("-ax", [], "a");
  t.is(options.next().value?.letter, "a"); // and only then is the x looked at
  t.is(
    refusal(() => options.next()),
    "unknown option -- x / 1 true",
  );
});

test("a single dash and a word without one are operands", (t) => {
  for (const word of ["-a", "--", "--long"]) t.true(isOptionWord(word), word);
  for (const word of ["", "-", "a", undefined]) t.false(isOptionWord(word), word);
});

test("a hash goes by its name in small or capital letters", (t) => {
  t.is(parseFingerprintHash("MD5"), "md5");
  t.is(
    refusal(() => parseFingerprintHash("sha9")),
    'Invalid hash algorithm "sha9" / 255 false',
  );
});
