import test from "ava";
import { Exit } from "./exit.ts";
import { isOptionWord, parseFingerprintHash, readOptions } from "./getopt.ts";

/** The options of the first word, and the remaining words. */
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

test("options share a word, and an argument is in the same word or the next", (t) => {
  t.deepEqual(read(["-ab", "c"], "ab"), [["a=", "b="], ["c"]]);
  t.deepEqual(read(["-avalue", "c"], "a:b"), [["a=value"], ["c"]]);
  t.deepEqual(read(["-ba", "-b", "c"], "a:b"), [["b=", "a=-b"], ["c"]]);
  t.deepEqual(read(["-a", ""], "a:"), [["a="], []]);
});

test("unknown options and missing arguments have getopt's messages", (t) => {
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
  t.is(options.next().value?.letter, "a"); // the x is read only after that
  t.is(
    refusal(() => options.next()),
    "unknown option -- x / 1 true",
  );
});

test("a single dash and a word without one are operands", (t) => {
  for (const word of ["-a", "--", "--long"]) t.true(isOptionWord(word), word);
  for (const word of ["", "-", "a", undefined]) t.false(isOptionWord(word), word);
});

test("the hash's name ignores case", (t) => {
  t.is(parseFingerprintHash("MD5"), "md5");
  t.is(
    refusal(() => parseFingerprintHash("sha9")),
    'Invalid hash algorithm "sha9" / 255 false',
  );
});
