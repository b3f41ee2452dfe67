/** Reads options as getopt(3) does on the systems that OpenSSH comes from. */

/** Which letters are options, and which of those take an argument. */
export interface OptionLetters {
  readonly flags: string;
  readonly withArgument: string;
}

/** One option of a command line, in its order. */
export type GivenOption =
  | { readonly kind: "option"; readonly letter: string; readonly value: string }
  /** What is no option, or lacks its argument, in the words of getopt. */
  | { readonly kind: "bad"; readonly message: string };

/**
 * Yields the options up to the first operand or `--`; returns what follows. Letters may share a dash,
 * and an argument may stand beside its letter or behind it. Reading goes on only as far as the caller
 * does, so that of two mistakes the first one counts.
 */
export function* readOptions(
  args: readonly string[],
  letters: OptionLetters,
): Generator<GivenOption, readonly string[]> {
  let next = 0;
  for (;;) {
    const word = args[next];
    if (word === undefined || !word.startsWith("-") || word === "-") return args.slice(next);
    next++;
    if (word === "--") return args.slice(next);
    let rest = word.slice(1);
    while (rest !== "") {
      const letter = String.fromCodePoint(rest.codePointAt(0) ?? 0);
      rest = rest.slice(letter.length);
      if (!letters.withArgument.includes(letter)) {
        const isKnown = letters.flags.includes(letter);
        yield isKnown ? { kind: "option", letter, value: "" } : unknown(letter);
        continue;
      }
      const value = rest === "" ? args[next++] : rest;
      yield value === undefined ? lacksArgument(letter) : { kind: "option", letter, value };
      rest = "";
    }
  }
}

function unknown(letter: string): GivenOption {
  return { kind: "bad", message: `unknown option -- ${letter}` };
}

function lacksArgument(letter: string): GivenOption {
  return { kind: "bad", message: `option requires an argument -- ${letter}` };
}
