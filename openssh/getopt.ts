/** Command line options, parsed like BSD's getopt(3). */
import { type FingerprintHash, fingerprintHashes } from "../protocol/public-key.ts";
import { decodeText, encodeText } from "../protocol/text.ts";
import { badUsage, fatal } from "./exit.ts";

export interface Option {
  readonly letter: string;
  /** Empty for an option without one. */
  readonly argument: string;
}

/** Whether a word contains options, or is the `--` that ends them. */
export function isOptionWord(word: string | undefined): word is string {
  return word?.startsWith("-") === true && word !== "-";
}

/**
 * Yields the options of one word such as `-qCs`. An argument is the rest of the word, or is taken from
 * the front of `following`. It is a generator so that the caller's check of one option precedes errors
 * in the next.
 * @param known the letters in getopt's notation: a colon follows those that take an argument
 * @throws {Exit} with getopt's message for an unknown option or a missing argument
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

/** getopt(3) works on bytes, and reports the first byte of an unknown character. */
function firstByte(letter: string): string {
  return decodeText(encodeText(letter).subarray(0, 1));
}

/** Parses the argument of `-E`, ignoring case. @throws {Exit} */
export function parseFingerprintHash(name: string): FingerprintHash {
  const hash = fingerprintHashes.find((known) => known === name.toLowerCase());
  if (hash === undefined) throw fatal(`Invalid hash algorithm "${name}"`);
  return hash;
}
