/**
 * The command line, read as OpenSSH reads it, with this project's long options added.
 *
 * Short options follow BSD getopt: they combine, and they end at the first operand or at `--`.
 * Long options may stand anywhere before `--`; `yargs-parser` types them, when there are any.
 */
import type { FingerprintHash } from "../protocol/public-key.ts";
import { decodeText, encodeText } from "../protocol/text.ts";
import { type Action, chooseAction } from "./action.ts";
import { badUsage, exit } from "./exit.ts";
import { type LongOptions, longFlags, longWithArgument, readLong } from "./long-options.ts";
import { applyShort, newShortOptions, type ShortOptions, shortOptions } from "./short-options.ts";

/** A command line that was understood. */
export interface Options {
  readonly action: Action;
  /** Files; with -s, certificates. */
  readonly operands: readonly string[];
  /** The library of -s or -e; empty otherwise. */
  readonly provider: string;
  /** The library of -S, for keys on FIDO authenticators. */
  readonly skProvider: string | undefined;
  /** Files of --cert-for-card. */
  readonly cardCertificates: readonly string[];
  readonly confirm: boolean;
  readonly certificatesOnly: boolean;
  readonly keysOnly: boolean;
  /** -N: a certificate's end sets no lifetime. */
  readonly unlimited: boolean;
  /** Seconds; 0 is without end. */
  readonly lifetime: number;
  readonly hash: FingerprintHash;
  readonly destinations: readonly string[];
  readonly hostKeyFiles: readonly string[];
  readonly quiet: boolean;
  /** How many -v were given. */
  readonly verbosity: number;
  readonly json: boolean;
}

const actionsWithJson: readonly Action[] = ["list", "list-keys", "list-providers", "query"];

/**
 * Reads a command line.
 * @param words the arguments, without the program's own name
 * @throws {Exit} for what OpenSSH would not take either, in the order in which it would complain
 */
export async function parseOptions(words: readonly string[]): Promise<Options> {
  const short = newShortOptions();
  const { long, operands } = splitWords(words, short);
  const typed = await readLong(long);
  const action = chooseAction(short, typed);
  checkLong(action, typed, operands);
  return {
    action,
    operands,
    provider: short.provider ?? "",
    skProvider: short.skProvider,
    cardCertificates: typed.cardCertificates,
    confirm: short.confirm,
    certificatesOnly: short.certificatesOnly,
    keysOnly: short.keysOnly,
    unlimited: short.unlimited,
    lifetime: short.lifetime,
    hash: short.hash,
    destinations: short.destinations,
    hostKeyFiles: short.hostKeyFiles,
    quiet: short.quiet,
    verbosity: short.verbosity,
    json: typed.json,
  };
}

/** Applies the short options to `short`, and returns the long ones and the operands. */
function splitWords(words: readonly string[], short: ShortOptions) {
  const long: string[] = [];
  const operands: string[] = [];
  const queue = [...words];
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (word === "--") {
      operands.push(...queue);
      break;
    }
    if (word.startsWith("--")) long.push(...takeLong(word, queue));
    else if (operands.length === 0 && word.startsWith("-") && word !== "-") {
      applyCluster(word, queue, short);
    } else operands.push(word);
  }
  return { long, operands };
}

/** A long option with its argument, which comes off `queue` unless it stands behind a `=`. */
function takeLong(word: string, queue: string[]): string[] {
  const name = word.slice(2).replace(/=.*/s, "");
  const takesArgument = longWithArgument.some((known) => known === name);
  if (!takesArgument && !longFlags.some((known) => word === `--${known}`)) {
    throw badUsage(`unknown option -- ${word.slice(2)}`);
  }
  if (!takesArgument) return [word];
  const argument = word.includes("=") ? word.slice(word.indexOf("=") + 1) : queue.shift();
  if (argument === undefined || argument === "")
    throw badUsage(`option requires an argument -- ${name}`);
  return [`--${name}=${argument}`];
}

/** Applies `-qCs LIB`; an argument that does not follow within `word` comes off `queue`. */
function applyCluster(word: string, queue: string[], short: ShortOptions): void {
  for (let at = 1; at < word.length; at++) {
    const letter = word.charAt(at);
    const known = letter === ":" ? -1 : shortOptions.indexOf(letter);
    if (known < 0) throw badUsage(`unknown option -- ${firstByte(word.slice(at))}`);
    if (shortOptions[known + 1] !== ":") {
      applyShort(short, letter, "");
      continue;
    }
    const argument = at + 1 < word.length ? word.slice(at + 1) : queue.shift();
    if (argument === undefined) throw badUsage(`option requires an argument -- ${letter}`);
    applyShort(short, letter, argument);
    return;
  }
}

/** As getopt sees it, which reads bytes. */
function firstByte(text: string): string {
  return decodeText(encodeText(text).subarray(0, 1));
}

function checkLong(action: Action, long: LongOptions, operands: readonly string[]): void {
  if (long.json && !actionsWithJson.includes(action)) {
    throw exit("--json goes with -l, -L, -Q and --list-providers only.", 1);
  }
  const takesCertificates = action === "add-card" || action === "attach-certificates";
  if (long.cardCertificates.length > 0 && !takesCertificates) {
    throw exit("--cert-for-card goes with -s, or stands alone.", 1);
  }
  if (action === "attach-certificates" && operands.length > 0) {
    throw exit("--cert-for-card without -s takes no files; name it before each certificate.", 1);
  }
}
