/** Options of a command line as getopt(3) reads them on the systems that OpenSSH comes from. */
import { type FingerprintHash, fingerprintHashes } from "../protocol/public-key.ts";
import { decodeText, encodeText } from "../protocol/text.ts";
import { badUsage, fatal } from "./exit.ts";

/** One option of a command line. */
export interface Option {
  readonly letter: string;
  /** Empty for an option that takes none. */
  readonly argument: string;
}

/** Whether a word has options in it, or is the `--` that ends them. */
export function isOptionWord(word: string | undefined): word is string {
  return word?.startsWith("-") === true && word !== "-";
}

/**
 * Yields the options of one word such as `-qCs`, in their order; an argument stands in the rest of
 * the word, or is taken off the front of `following`. Reading goes on only as far as the caller does,
 * so that of two mistakes the first one counts.
 * @param known the letters in getopt's notation: a colon follows those that take an argument
 * @throws {Exit} for an unknown option and a missing argument, in getopt's words
 */
export function* readOptions(word: string, following: string[], known: string): Generator<Option> {
  for (let rest = word.slice(1); rest !== ""; ) {
    const letter = String.fromCodePoint(rest.codePointAt(0) ?? 0);
    rest = rest.slice(letter.length);
    const at = letter === ":" ? -1 : known.indexOf(letter);
    if (at < 0) throw badUsage(`unknown option -- ${firstByte(letter)}`);
    if (known[at + 1] !== ":") {
      yield { letter, argument: "" };
      continue;
    }
    const argument = rest === "" ? following.shift() : rest;
    if (argument === undefined) throw badUsage(`option requires an argument -- ${letter}`);
    yield { letter, argument };
    return;
  }
}

/** getopt reads bytes, and shows the first one of an unknown letter. */
function firstByte(letter: string): string {
  return decodeText(encodeText(letter).subarray(0, 1));
}

/** The argument of `-E`, in small or capital letters. @throws {Exit} */
export function parseFingerprintHash(name: string): FingerprintHash {
  const hash = fingerprintHashes.find((known) => known === name.toLowerCase());
  if (hash === undefined) throw fatal(`Invalid hash algorithm "${name}"`);
  return hash;
}
