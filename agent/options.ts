/** The command line of `ssh-agent`, as OpenSSH has it. */
import { parseArgs } from "node:util";
import { type FingerprintHash, fingerprintHashes } from "../protocol/public-key.ts";
import { parseDuration } from "./host/duration.ts";
import { defaultAllowedProviders } from "./policy/allowed-providers.ts";

/** What a command line asks for. */
export interface AgentOptions {
  /** `-k` ends an agent; `-D` and `-d` run in the foreground, `-d` with a log; `-V` says which. */
  readonly mode: "background" | "foreground" | "debug" | "kill" | "version" | "serve";
  /** `-c` or `-s`: for which kind of shell to print; undefined to tell from SHELL. */
  readonly shell: "csh" | "sh" | undefined;
  /** `-a`: where to listen. */
  readonly bindAddress: string | undefined;
  /** `-T`: the default socket is in the folder for temporary files. */
  readonly inTemporaryFolder: boolean;
  /** `-t`: seconds. */
  readonly lifetime: number | undefined;
  /** `-P`. */
  readonly allowedProviders: string;
  /** `-E`. */
  readonly fingerprintHash: FingerprintHash;
  /** `-O allow-remote-pkcs11`. */
  readonly allowRemotePkcs11: boolean;
  /** Of mode "serve", in which the program starts itself; see serving.ts. */
  readonly serving: ServingOptions | undefined;
  /** A command to run with the agent, and its arguments. */
  readonly command: readonly string[];
}

/** What a background agent is told by the program that started it. */
export interface ServingOptions {
  /** The descriptor of a socket that is listening already. */
  readonly descriptor: number;
  /** The agent ends with this process; 0 for none. */
  readonly parent: number;
  /** Whether the socket's folder goes with the agent. */
  readonly ownsFolder: boolean;
}

/** A command line that cannot be followed. */
export class UsageError extends Error {
  readonly status: number;
  /** Whether the usage is shown after the message. */
  readonly showsUsage: boolean;

  constructor(message: string, status: number, showsUsage: boolean) {
    super(message);
    this.status = status;
    this.showsUsage = showsUsage;
  }
}

export const usage = `usage: ssh-agent [-c | -s] [-DdT] [-a bind_address] [-E fingerprint_hash]
                 [-O option] [-P allowed_providers] [-t life]
       ssh-agent [-T] [-a bind_address] [-E fingerprint_hash] [-O option]
                 [-P allowed_providers] [-t life] command [arg ...]
       ssh-agent [-c | -s] -k
       ssh-agent -V
`;

const flags = ["c", "D", "d", "k", "s", "T", "V"];
const withArgument = ["a", "E", "O", "P", "t"];

interface GivenOption {
  readonly name: string;
  readonly value: string;
}

/** Options up to the first operand, and what follows from there. */
function split(args: readonly string[]): {
  readonly given: readonly GivenOption[];
  readonly command: readonly string[];
} {
  const options: Record<string, { type: "boolean" | "string"; short?: string; multiple: boolean }> =
    { serve: { type: "string", multiple: true } };
  for (const name of flags)
    options[`flag-${name}`] = { type: "boolean", short: name, multiple: true };
  for (const name of withArgument) {
    options[`option-${name}`] = { type: "string", short: name, multiple: true };
  }
  const { tokens } = parseArgs({
    args: [...args],
    options,
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given: GivenOption[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") return { given, command: args.slice(token.index) };
    if (token.kind === "option-terminator") return { given, command: args.slice(token.index + 1) };
    given.push(checkedOption(token.rawName, token.name, token.value));
  }
  return { given, command: [] };
}

function checkedOption(rawName: string, name: string, value: string | undefined): GivenOption {
  const letter = name.replace(/^(flag|option)-/, "");
  const isKnown = letter !== name || name === "serve";
  if (!isKnown) {
    const unknown = rawName.startsWith("--") ? "-" : letter;
    throw new UsageError(`unknown option -- ${unknown}`, 1, true);
  }
  if (withArgument.includes(letter) && value === undefined) {
    throw new UsageError(`option requires an argument -- ${letter}`, 1, true);
  }
  return { name: letter, value: value ?? "" };
}

/** Reads a command line. @throws {UsageError} */
export function parseOptions(args: readonly string[]): AgentOptions {
  const { given, command } = split(args);
  const last = (name: string) => given.findLast((option) => option.name === name)?.value;
  const has = (...names: string[]) => given.some(({ name }) => names.includes(name));
  const options: AgentOptions = {
    mode: modeOf(has),
    shell: shellOf(has("c"), has("s")),
    bindAddress: last("a"),
    inTemporaryFolder: has("T"),
    lifetime: lifetimeOf(last("t")),
    allowedProviders: allowedOf(given),
    fingerprintHash: hashOf(last("E")),
    allowRemotePkcs11: allowsRemote(given),
    serving: servingOf(last("serve")),
    command,
  };
  checkCombination(options, has("d") && has("D"));
  return options;
}

function modeOf(has: (name: string) => boolean): AgentOptions["mode"] {
  if (has("serve")) return "serve";
  if (has("V")) return "version";
  if (has("k")) return "kill";
  if (has("d")) return "debug";
  return has("D") ? "foreground" : "background";
}

function checkCombination(options: AgentOptions, isTwice: boolean): void {
  const isForeground = options.mode === "foreground" || options.mode === "debug";
  const runsCommand = options.command.length > 0;
  const isBad = isTwice || (runsCommand && (isForeground || options.shell !== undefined));
  if (isBad || (options.mode === "kill" && runsCommand)) throw new UsageError("", 1, true);
}

function shellOf(isCsh: boolean, isSh: boolean): AgentOptions["shell"] {
  if (isCsh && isSh) throw new UsageError("", 1, true);
  return isCsh ? "csh" : isSh ? "sh" : undefined;
}

function lifetimeOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = parseDuration(text);
  if (seconds === undefined) throw new UsageError("Invalid lifetime", 1, true);
  return seconds === 0 ? undefined : seconds;
}

function hashOf(text: string | undefined): FingerprintHash {
  if (text === undefined) return "sha256";
  const name = fingerprintHashes.find((hash) => hash === text.toLowerCase());
  if (name === undefined) throw new UsageError(`Invalid hash algorithm "${text}"`, 255, false);
  return name;
}

function allowedOf(given: readonly GivenOption[]): string {
  const lists = given.filter(({ name }) => name === "P");
  if (lists.length > 1) throw new UsageError("-P option already specified", 255, false);
  return lists[0]?.value ?? defaultAllowedProviders;
}

function allowsRemote(given: readonly GivenOption[]): boolean {
  const names = given.filter(({ name }) => name === "O").map(({ value }) => value);
  for (const name of names) {
    if (name !== "allow-remote-pkcs11") throw new UsageError("Unknown -O option", 255, false);
  }
  return names.length > 0;
}

/** `DESCRIPTOR,PARENT,0|1`, as `servingArgument` writes it. */
function servingOf(text: string | undefined): ServingOptions | undefined {
  if (text === undefined) return undefined;
  const [, descriptor, parent, owns] = /^(\d+),(\d+),([01])$/.exec(text) ?? [];
  if (descriptor === undefined) throw new UsageError("", 1, true);
  return { descriptor: Number(descriptor), parent: Number(parent), ownsFolder: owns === "1" };
}

/** The argument that hands `options` to a background agent. */
export function servingArgument({ descriptor, parent, ownsFolder }: ServingOptions): string {
  return `--serve=${descriptor},${parent},${ownsFolder ? 1 : 0}`;
}
