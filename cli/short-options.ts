/** The short options: OpenSSH's own, each with what it sets. */
import { type FingerprintHash, fingerprintHashes } from "../protocol/public-key.ts";
import { exit, fatal } from "./exit.ts";
import { parseLifetime } from "./lifetime.ts";

/** The short options, in getopt's notation: a colon follows those that take an argument. */
export const shortOptions = "CcDdE:e:H:h:KkLlNQqS:s:Tt:vXx";

/** What the short options of a command line have set so far. */
export interface ShortOptions {
  list: "l" | "L" | undefined;
  lock: "x" | "X" | undefined;
  removeAll: boolean;
  query: boolean;
  test: boolean;
  deleting: boolean;
  resident: boolean;
  provider: string | undefined;
  skProvider: string | undefined;
  confirm: boolean;
  certificatesOnly: boolean;
  keysOnly: boolean;
  unlimited: boolean;
  lifetime: number;
  hash: FingerprintHash;
  destinations: string[];
  hostKeyFiles: string[];
  quiet: boolean;
  verbosity: number;
}

/** What holds before any option was read. */
export function newShortOptions(): ShortOptions {
  return {
    list: undefined,
    lock: undefined,
    removeAll: false,
    query: false,
    test: false,
    deleting: false,
    resident: false,
    provider: undefined,
    skProvider: undefined,
    confirm: false,
    certificatesOnly: false,
    keysOnly: false,
    unlimited: false,
    lifetime: 0,
    hash: "sha256",
    destinations: [],
    hostKeyFiles: [],
    quiet: false,
    verbosity: 0,
  };
}

type Effect = (options: ShortOptions, argument: string) => void;

const effects: Readonly<Record<string, Effect>> = {
  C: (options) => {
    options.certificatesOnly = true;
  },
  c: (options) => {
    options.confirm = true;
  },
  D: (options) => {
    options.removeAll = true;
  },
  d: (options) => {
    options.deleting = true;
  },
  E: (options, argument) => {
    options.hash = parseHash(argument);
  },
  e: (options, argument) => {
    options.deleting = true;
    options.provider = argument;
  },
  H: (options, argument) => {
    options.hostKeyFiles.push(argument);
  },
  h: (options, argument) => {
    options.destinations.push(argument);
  },
  K: (options) => {
    options.resident = true;
  },
  k: (options) => {
    options.keysOnly = true;
  },
  L: (options) => setList(options, "L"),
  l: (options) => setList(options, "l"),
  N: (options) => {
    options.unlimited = true;
  },
  Q: (options) => {
    options.query = true;
  },
  q: (options) => {
    options.quiet = true;
  },
  S: (options, argument) => {
    options.skProvider = argument;
  },
  s: (options, argument) => {
    options.provider = argument;
  },
  T: (options) => {
    options.test = true;
  },
  t: (options, argument) => {
    const lifetime = parseLifetime(argument);
    if (lifetime === undefined) throw exit("Invalid lifetime", 1);
    options.lifetime = lifetime;
  },
  v: (options) => {
    options.verbosity++;
  },
  X: (options) => setLock(options, "X"),
  x: (options) => setLock(options, "x"),
};

/**
 * Applies one short option.
 * @param letter one of `shortOptions`
 * @throws {Exit} when its argument is not one, or it contradicts an earlier option
 */
export function applyShort(options: ShortOptions, letter: string, argument: string): void {
  effects[letter]?.(options, argument);
}

function setList(options: ShortOptions, letter: "l" | "L"): void {
  if (options.list !== undefined) throw fatal(`-${options.list} flag already specified`);
  options.list = letter;
}

function setLock(options: ShortOptions, letter: "x" | "X"): void {
  if (options.lock !== undefined) throw fatal(`-${options.lock} flag already specified`);
  options.lock = letter;
}

function parseHash(name: string): FingerprintHash {
  const hash = fingerprintHashes.find((known) => known === name.toLowerCase());
  if (hash === undefined) throw fatal(`Invalid hash algorithm "${name}"`);
  return hash;
}
