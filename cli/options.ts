/**
 * The command line: OpenSSH's short options, and this project's long options.
 *
 * Short options follow BSD getopt: they combine, and end at the first operand or at `--`.
 * Long options may appear anywhere before `--`; `yargs-parser` parses them.
 */
import { parseDuration } from "../openssh/duration.ts";
import { badUsage, exit, fatal } from "../openssh/exit.ts";
import { isOptionWord, type Option, parseFingerprintHash, readOptions } from "../openssh/getopt.ts";
import type { FingerprintHash } from "../protocol/public-key.ts";

/** OpenSSH 10's usage, followed by this project's long options. */
export const usage = `usage: ssh-add [-CcDdKkLlNPqvXx] [-E fingerprint_hash] [-H hostkey_file]
               [-h destination_constraint] [-S provider] [-t life]
               [file ...]
       ssh-add -s pkcs11 [-Cv] [certificate ...]
       ssh-add -e pkcs11
       ssh-add -T pubkey ...
       ssh-add -Q
       ssh-add -s pkcs11 --only key
       ssh-add [-s pkcs11] --cert-for-card certificate
       ssh-add --list-providers
       ssh-add --write-public-keys folder
       ssh-add --json -L | -l | -Q | --list-providers
       ssh-add --help | --version`;

/**
 * OpenSSH's short options in getopt's notation. As there, -M and -m, once for XMSS keys, mean nothing
 * any more.
 */
const shortOptions = "CcDdE:e:H:h:KkLlM:m:NPQqS:s:Tt:vXx";
/** Long options that take an argument. */
const longWithArgument = ["cert-for-card", "only", "write-public-keys"] as const;
/** Long options without one. */
const longFlags = ["list-providers", "json", "help", "version"] as const;

/** What ssh-add does in a run. */
export type Action =
  | "add-files"
  | "remove-files"
  | "add-card"
  | "remove-card"
  | "attach-certificates"
  | "list"
  | "list-keys"
  | "list-providers"
  | "write-public-keys"
  | "query"
  | "test"
  | "remove-all"
  | "lock"
  | "unlock"
  | "add-resident"
  | "help"
  | "version";

/** A valid command line. */
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
  /** Files and fingerprints of --only; empty for all keys. */
  readonly only: readonly string[];
  /** The folder of --write-public-keys; empty otherwise. */
  readonly folder: string;
  readonly confirm: boolean;
  readonly certificatesOnly: boolean;
  readonly keysOnly: boolean;
  /** -N: do not derive a lifetime from a certificate's expiry. */
  readonly ignoresExpiry: boolean;
  /** False with -P: a token or authenticator is tried without its PIN. */
  readonly asksPin: boolean;
  /** Seconds; 0 for unlimited. */
  readonly lifetime: number;
  readonly hash: FingerprintHash;
  readonly destinations: readonly string[];
  readonly hostKeyFiles: readonly string[];
  readonly quiet: boolean;
  /** The number of -v options. */
  readonly verbosity: number;
  readonly json: boolean;
}

const actionsWithJson: readonly Action[] = ["list", "list-keys", "list-providers", "query"];

/** The short options of a command line. */
class ShortOptions {
  readonly #given: Option[] = [];

  /** @throws {Exit} for an invalid argument, or an option that excludes an earlier one */
  add(option: Option): void {
    const { letter, argument } = option;
    if (letter === "E") parseFingerprintHash(argument);
    if (letter === "t") parseLifetime(argument);
    const exclusive = ["lL", "xX"].find((letters) => letters.includes(letter)) ?? "";
    const earlier = this.last(exclusive);
    if (earlier !== undefined) throw fatal(`-${earlier.letter} flag already specified`);
    this.#given.push(option);
  }

  /** The last option with one of these letters. */
  last(letters: string): Option | undefined {
    return this.#given.findLast(({ letter }) => letters.includes(letter));
  }

  has(letters: string): boolean {
    return this.last(letters) !== undefined;
  }

  /** The arguments of all options with this letter. */
  all(letter: string): string[] {
    return this.#given.filter((one) => one.letter === letter).map(({ argument }) => argument);
  }
}

/** The long options of a command line. */
interface LongOptions {
  readonly all: (name: (typeof longWithArgument)[number]) => readonly string[];
  readonly has: (name: (typeof longFlags)[number]) => boolean;
}

/**
 * Reads a command line.
 * @param words the arguments, without the program's name
 * @throws {Exit} for the first error, in the order in which OpenSSH would report it
 */
export async function parseOptions(words: readonly string[]): Promise<Options> {
  const short = new ShortOptions();
  const { longWords, operands } = splitWords(words, short);
  const long = await readLong(longWords);
  const action = chooseAction(short, long);
  checkLong(action, long, operands);
  return {
    action,
    operands,
    provider: short.last("es")?.argument ?? "",
    skProvider: short.last("S")?.argument,
    cardCertificates: long.all("cert-for-card"),
    only: long.all("only"),
    folder: long.all("write-public-keys").at(-1) ?? "",
    confirm: short.has("c"),
    certificatesOnly: short.has("C"),
    keysOnly: short.has("k"),
    ignoresExpiry: short.has("N"),
    asksPin: !short.has("P"),
    lifetime: parseLifetime(short.last("t")?.argument ?? "0"),
    hash: parseFingerprintHash(short.last("E")?.argument ?? "sha256"),
    destinations: short.all("h"),
    hostKeyFiles: short.all("H"),
    quiet: short.has("q"),
    verbosity: short.all("v").length,
    json: long.has("json"),
  };
}

/** Adds the short options to `short`, and returns the long ones and the operands. */
function splitWords(words: readonly string[], short: ShortOptions) {
  const longWords: string[] = [];
  const operands: string[] = [];
  const queue = [...words];
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (word === "--") {
      operands.push(...queue);
      break;
    }
    if (word.startsWith("--")) longWords.push(...takeLong(word, queue));
    else if (operands.length === 0 && isOptionWord(word)) {
      for (const option of readOptions(word, queue, shortOptions)) short.add(option);
    } else operands.push(word);
  }
  return { longWords, operands };
}

/** A long option with its argument, which follows a `=` or is taken from `queue`. */
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

function parseLifetime(text: string): number {
  const lifetime = parseDuration(text);
  if (lifetime === undefined) throw exit("Invalid lifetime", 1);
  return lifetime;
}

/** @param words known long options, each with its argument after a `=` */
async function readLong(words: readonly string[]): Promise<LongOptions> {
  if (words.length === 0) return { all: () => [], has: () => false };
  // Loaded on demand, to keep `ssh-add -l` fast.
  const { default: yargsParser } = await import("yargs-parser");
  const parsed: Record<string, unknown> = yargsParser([...words], {
    string: [...longWithArgument],
    array: [...longWithArgument],
    boolean: [...longFlags],
    configuration: {
      "camel-case-expansion": false,
      "dot-notation": false,
      "boolean-negation": false,
      "greedy-arrays": false,
      "parse-numbers": false,
      "strip-dashed": false,
    },
  });
  return {
    all: (name) => [parsed[name] ?? []].flat().map(String),
    has: (name) => parsed[name] === true,
  };
}

/**
 * Chooses the action in OpenSSH's order of precedence.
 * @throws {Exit} for two exclusive actions
 */
function chooseAction(short: ShortOptions, long: LongOptions): Action {
  if (long.has("help")) return "help";
  if (long.has("version")) return "version";
  const exclusive: Action[] = [];
  if (short.has("xX")) exclusive.push(short.has("x") ? "lock" : "unlock");
  if (short.has("lL")) exclusive.push(short.has("l") ? "list" : "list-keys");
  if (short.has("D")) exclusive.push("remove-all");
  if (short.has("Q")) exclusive.push("query");
  if (long.has("list-providers")) exclusive.push("list-providers");
  if (long.all("write-public-keys").length > 0) exclusive.push("write-public-keys");
  if (exclusive.length > 1) throw fatal("Invalid combination of actions");
  if (exclusive[0] !== undefined) return exclusive[0];
  // OpenSSH accepts these together; the first one wins.
  const isDeleting = short.has("de");
  if (short.has("T")) return "test";
  if (short.has("es")) return isDeleting ? "remove-card" : "add-card";
  if (short.has("K")) return "add-resident";
  if (isDeleting) return "remove-files";
  return long.all("cert-for-card").length > 0 ? "attach-certificates" : "add-files";
}

function checkLong(action: Action, long: LongOptions, operands: readonly string[]): void {
  if (long.has("json") && !actionsWithJson.includes(action)) {
    throw exit("--json goes with -l, -L, -Q and --list-providers only.", 1);
  }
  const takesCertificates = action === "add-card" || action === "attach-certificates";
  if (long.all("cert-for-card").length > 0 && !takesCertificates) {
    throw exit("--cert-for-card goes with -s, or stands alone.", 1);
  }
  if (long.all("only").length > 0 && action !== "add-card") throw exit("--only goes with -s.", 1);
  if (action === "write-public-keys" && operands.length > 0) {
    throw exit("--write-public-keys takes no files but its folder.", 1);
  }
  if (action === "attach-certificates" && operands.length > 0) {
    throw exit("--cert-for-card without -s takes no files; name it before each certificate.", 1);
  }
}
