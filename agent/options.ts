/** The command line of `ssh-agent`: OpenSSH's options, and our own for `-O`. */
import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, resolve } from "node:path";
import { parseDuration } from "../openssh/duration.ts";
import { badUsage, fatal } from "../openssh/exit.ts";
import { isOptionWord, parseFingerprintHash, readOptions } from "../openssh/getopt.ts";
import { homeDirectory } from "../openssh/home-directory.ts";
import type { FingerprintHash } from "../protocol/public-key.ts";
import {
  type CardTimeout,
  parseCardTimeout,
  parseIdleRelease,
  parsePinCache,
} from "./card-options.ts";
import { defaultAllowedProviders } from "./policy/allowed-providers.ts";
import type { UpstreamOption } from "./upstream/upstream.ts";

/** A parsed command line. */
export interface AgentOptions {
  /**
   * "kill" is `-k`, "clean" `-u`, "foreground" `-D`, "debug" `-d`, "version" `-V`; "serve" is the agent
   * that mode "background" starts.
   */
  readonly mode: "background" | "foreground" | "debug" | "kill" | "clean" | "version" | "serve";
  /** `-c` or `-s`: the kind of shell to print for; undefined to detect it by SHELL. */
  readonly shell: "csh" | "sh" | undefined;
  /** `-a`: where to listen. */
  readonly bindAddress: string | undefined;
  /** `-T`: the default socket is in the folder for temporary files. */
  readonly inTemporaryFolder: boolean;
  /** `-U`: stale sockets are not removed at the start. */
  readonly keepsStaleSockets: boolean;
  /** `-u` twice: stale sockets of all hosts are removed. */
  readonly cleansAllHosts: boolean;
  /** `-t`: seconds. */
  readonly lifetime: number | undefined;
  /** `-P`. */
  readonly allowedProviders: string;
  /** All options but `-P` as words, each with its argument in a word of its own. */
  readonly otherWords: readonly string[];
  /** `-E`. */
  readonly fingerprintHash: FingerprintHash;
  /** `-O certificate-grace`: seconds; undefined with `-O keep-ended-certificates`. */
  readonly certificateGrace: number | undefined;
  /** `-O allow-remote-pkcs11`. */
  readonly allowRemotePkcs11: boolean;
  /** `-O pin-cache`: seconds; 0 for `none`. */
  readonly keepPin: number;
  /** `-O card-timeout`; undefined without it. */
  readonly cardTimeout: CardTimeout | undefined;
  /** `-O idle-release`: seconds; undefined for `none`. */
  readonly idleRelease: number | undefined;
  /** `-O websafe-allow`; undefined after `-O no-restrict-websafe`. */
  readonly websafeAllow: string | undefined;
  /** `-O certificates`: the absolute path of a folder. */
  readonly certificates: string | undefined;
  /** `-O upstream`, in order. */
  readonly upstreams: readonly UpstreamOption[];
  /** `-O renew` and `-O renew-all`; undefined without the former. */
  readonly renewal: RenewalOption | undefined;
  /** For mode "serve"; see daemonize.ts. */
  readonly serving: ServingOptions | undefined;
  /** A command to run with the agent, and its arguments. */
  readonly command: readonly string[];
}

/** The program that renews certificates. */
export interface RenewalOption {
  /** Its absolute path. */
  readonly program: string;
  /** Whether keys that never had a certificate get one. */
  readonly all: boolean;
}

/** What the starting program passes to an agent in the background. */
interface ServingOptions {
  /** The process with which the agent ends; 0 for none. */
  readonly parent: number;
  /** The starting program's parent, whose number is in the name of `-T`'s socket. */
  readonly starter: number;
}

export const usage = `usage: ssh-agent [-c | -s] [-DdTU] [-a bind_address] [-E fingerprint_hash]
                 [-O option] [-P allowed_providers] [-t life]
       ssh-agent [-TU] [-a bind_address] [-E fingerprint_hash] [-O option]
                 [-P allowed_providers] [-t life] command [arg ...]
       ssh-agent [-c | -s] -k
       ssh-agent -u
       ssh-agent -V
`;

/** The applications of FIDO keys that may sign any data, as in OpenSSH. */
const defaultWebsafe = "ssh:*";

/** Seconds that certificates stay after they expire; `ssh-add` of OpenSSH 10 uses the same. */
const defaultGrace = 300;

/** In getopt's notation: a colon follows those that take an argument. */
const letters = "a:cDdE:kO:P:sTt:UuV";

const noWebsafe = "no-restrict-websafe";
const keepEnded = "keep-ended-certificates";
const gracePrefix = "certificate-grace=";
const websafePrefix = "websafe-allow=";
const pinCachePrefix = "pin-cache=";
const cardTimeoutPrefix = "card-timeout=";
const idleReleasePrefix = "idle-release=";
const upstreamPrefix = "upstream=";
const certificatesPrefix = "certificates=";
const renewPrefix = "renew=";
const renewAll = "renew-all";
/** The prefixes of features that may be given once, and what checks their values. */
const valued: readonly (readonly [prefix: string, check: (value: string) => unknown])[] = [
  [websafePrefix, () => undefined],
  [pinCachePrefix, parsePinCache],
  [cardTimeoutPrefix, parseCardTimeout],
  [idleReleasePrefix, parseIdleRelease],
  [gracePrefix, parseGrace],
  [certificatesPrefix, parseFolder],
  [renewPrefix, parseProgram],
];
/** Starts the first argument of mode "serve". */
const servingPrefix = "--serve=";

/** The values of each option, in order; "" for an option without an argument. */
type OptionValues = ReadonlyMap<string, readonly string[]>;

/**
 * Parses a command line. Options are checked in order, so the first mistake is reported, and none after
 * `-V`.
 * @throws {Exit}
 */
export function parseOptions(args: readonly string[]): AgentOptions {
  const [first = ""] = args;
  const isServing = first.startsWith(servingPrefix);
  const serving = isServing ? parseServing(first.slice(servingPrefix.length)) : undefined;
  const words = isServing ? args.slice(1) : [...args];
  const given = new Map<string, string[]>();
  const otherWords: string[] = [];
  while (isOptionWord(words[0]) && !given.has("V")) {
    const word = words.shift() ?? "";
    if (word === "--") break;
    for (const { letter, argument } of readOptions(word, words, letters)) {
      checkOption(letter, argument, given);
      given.set(letter, [...(given.get(letter) ?? []), argument]);
      const words = letters.includes(`${letter}:`) ? [`-${letter}`, argument] : [`-${letter}`];
      if (letter !== "P") otherWords.push(...words);
      if (letter === "V") break;
    }
  }
  const command = given.has("V") ? [] : words;
  const cannotRunCommand = ["c", "D", "d", "k", "s", "u"].some((letter) => given.has(letter));
  if (command.length > 0 && cannotRunCommand) throw badUsage("");
  const options = { ...optionsOf(given), otherWords, serving, command };
  return serving === undefined ? options : { ...options, mode: "serve" };
}

/** Refuses an option that is invalid, or conflicts with an earlier one. @throws {Exit} */
function checkOption(letter: string, value: string, given: OptionValues): void {
  const excluding: Record<string, string> = { c: "s", s: "c", d: "dD", D: "dD" };
  const isExcluded = [...(excluding[letter] ?? "")].some((other) => given.has(other));
  if (isExcluded) throw badUsage("");
  if (letter === "t") parseLifetime(value);
  if (letter === "E") parseFingerprintHash(value);
  if (letter === "O") checkFeature(value, given.get("O") ?? []);
  if (letter === "P" && given.has("P")) {
    throw fatal("-P option already specified");
  }
}

function optionsOf(given: OptionValues): Omit<AgentOptions, "otherWords" | "serving" | "command"> {
  const last = (letter: string) => given.get(letter)?.at(-1);
  const features = given.get("O") ?? [];
  return {
    mode: modeOf(given),
    shell: given.has("c") ? "csh" : given.has("s") ? "sh" : undefined,
    bindAddress: last("a"),
    inTemporaryFolder: given.has("T"),
    keepsStaleSockets: given.has("U"),
    cleansAllHosts: (given.get("u") ?? []).length > 1,
    lifetime: parseLifetime(last("t")),
    allowedProviders: last("P") ?? defaultAllowedProviders,
    fingerprintHash: parseFingerprintHash(last("E") ?? "sha256"),
    certificateGrace: features.includes(keepEnded)
      ? undefined
      : parseGrace(featureValue(features, gracePrefix)),
    allowRemotePkcs11: features.includes("allow-remote-pkcs11"),
    keepPin: parsePinCache(featureValue(features, pinCachePrefix)),
    cardTimeout: parseCardTimeout(featureValue(features, cardTimeoutPrefix)),
    idleRelease: parseIdleRelease(featureValue(features, idleReleasePrefix)),
    websafeAllow: websafeOf(features),
    certificates: parseFolder(featureValue(features, certificatesPrefix)),
    upstreams: features
      .filter((feature) => feature.startsWith(upstreamPrefix))
      .map((feature) => parseUpstream(feature.slice(upstreamPrefix.length))),
    renewal: renewalOf(features),
  };
}

function modeOf(given: OptionValues): AgentOptions["mode"] {
  if (given.has("V")) return "version";
  if (given.has("k")) return "kill";
  if (given.has("u")) return "clean";
  if (given.has("d")) return "debug";
  return given.has("D") ? "foreground" : "background";
}

function parseLifetime(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = parseDuration(text);
  if (seconds === undefined) throw badUsage("Invalid lifetime", { isLogged: false });
  return seconds === 0 ? undefined : seconds;
}

function checkFeature(feature: string, before: readonly string[]): void {
  if (feature.startsWith(upstreamPrefix)) {
    parseUpstream(feature.slice(upstreamPrefix.length));
    return;
  }
  if (["allow-remote-pkcs11", noWebsafe, keepEnded, renewAll].includes(feature)) return;
  const known = valued.find(([prefix]) => feature.startsWith(prefix));
  if (known === undefined) throw fatal("Unknown -O option");
  const [prefix, check] = known;
  if (before.some((other) => other.startsWith(prefix))) {
    throw fatal(`${prefix.slice(0, -1)} already set`);
  }
  check(feature.slice(prefix.length));
}

/** The folder of `-O certificates`, where `~/` is the home folder. @throws {Exit} */
function parseFolder(text: string | undefined): string | undefined {
  if (text === "") throw fatal("certificates needs a folder");
  return text && resolve(expandHome(text));
}

/** Expands `~/`, which shells and service managers leave as it is within an option. */
function expandHome(text: string): string {
  return text.replace(/^~(?=\/|$)/, homeDirectory(process.env) ?? "~");
}

/** Parses `-O upstream`: `SOCKET`, or `env` for SSH_AUTH_SOCK, and `,confirm`. @throws {Exit} */
function parseUpstream(text: string): UpstreamOption {
  const suffix = ",confirm";
  const confirm = text.endsWith(suffix);
  const socket = confirm ? text.slice(0, -suffix.length) : text;
  const path = socket === "env" ? (process.env.SSH_AUTH_SOCK ?? "") : socket;
  if (path === "" && socket === "env") throw fatal("upstream=env needs SSH_AUTH_SOCK");
  if (path === "") throw fatal(`Invalid upstream "${text}": use a socket, or env`);
  return { path: resolve(path), confirm };
}

/** `-O renew` and `-O renew-all`. @throws {Exit} */
function renewalOf(features: readonly string[]): RenewalOption | undefined {
  const program = featureValue(features, renewPrefix);
  const all = features.includes(renewAll);
  if (program === undefined && all) throw fatal("renew-all needs renew=PROGRAM");
  return program === undefined ? undefined : { program: parseProgram(program), all };
}

/** The program of `-O renew`: an absolute path, or a name that is in PATH now. @throws {Exit} */
function parseProgram(text: string): string {
  const path = expandHome(text);
  if (isAbsolute(path)) return path;
  const isName = text !== "" && !text.includes("/");
  if (!isName) throw fatal(`Invalid renew "${text}": use an absolute path, or a name in PATH`);
  const found = findInPath(text, process.env.PATH);
  if (found !== undefined) return found;
  throw fatal(`Invalid renew "${text}": there is no such program in PATH`);
}

/** Finds a program as execvp(3) does, which takes an empty folder for the current one. */
function findInPath(name: string, path = "/bin:/usr/bin"): string | undefined {
  return path
    .split(":")
    .map((folder) => resolve(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return statSync(file).isFile();
      } catch {
        return false;
      }
    });
}

/** The seconds of `-O certificate-grace`. @throws {Exit} */
function parseGrace(text: string | undefined): number {
  if (text === undefined) return defaultGrace;
  const grace = parseDuration(text);
  if (grace !== undefined) return grace;
  throw fatal(`Invalid certificate-grace "${text}": use a time`);
}

/** The value of the feature with a prefix, such as "certificate-grace=". */
function featureValue(features: readonly string[], prefix: string): string | undefined {
  return features.find((feature) => feature.startsWith(prefix))?.slice(prefix.length);
}

function websafeOf(features: readonly string[]): string | undefined {
  if (features.includes(noWebsafe)) return undefined;
  return featureValue(features, websafePrefix) ?? defaultWebsafe;
}

/** Parses `PARENT,STARTER`, as `servingArguments` writes it. @throws {Exit} */
function parseServing(text: string): ServingOptions {
  const [, parent, starter] = /^(\d+),(\d+)$/.exec(text) ?? [];
  if (parent === undefined) throw badUsage("unknown option -- -");
  return { parent: Number(parent), starter: Number(starter) };
}

/** The command line that passes `options` to an agent in the background. */
export function servingArguments(
  { parent, starter }: ServingOptions,
  options: AgentOptions,
): string[] {
  const args = [`${servingPrefix}${parent},${starter}`];
  if (options.bindAddress !== undefined) args.push("-a", options.bindAddress);
  if (options.inTemporaryFolder) args.push("-T");
  if (options.keepsStaleSockets) args.push("-U");
  if (options.lifetime !== undefined) args.push("-t", String(options.lifetime));
  if (options.allowRemotePkcs11) args.push("-O", "allow-remote-pkcs11");
  const { certificateGrace } = options;
  args.push("-O", certificateGrace === undefined ? keepEnded : gracePrefix + certificateGrace);
  if (options.keepPin > 0) args.push("-O", `${pinCachePrefix}${options.keepPin}`);
  const { cardTimeout, idleRelease, websafeAllow } = options;
  if (cardTimeout !== undefined) {
    args.push("-O", `${cardTimeoutPrefix}${cardTimeout.sign},${cardTimeout.load}`);
  }
  if (idleRelease !== undefined) args.push("-O", `${idleReleasePrefix}${idleRelease}`);
  const { certificates } = options;
  if (certificates !== undefined) args.push("-O", certificatesPrefix + certificates);
  for (const { path, confirm } of options.upstreams) {
    args.push("-O", `${upstreamPrefix}${path}${confirm ? ",confirm" : ""}`);
  }
  const { renewal } = options;
  if (renewal !== undefined) args.push("-O", renewPrefix + renewal.program);
  if (renewal?.all === true) args.push("-O", renewAll);
  args.push("-O", websafeAllow === undefined ? noWebsafe : websafePrefix + websafeAllow);
  return [...args, "-P", options.allowedProviders, "-E", options.fingerprintHash];
}

/** Whether the agent removes stale sockets when it starts: only beside the default socket. */
export function cleansAtStart(options: AgentOptions): boolean {
  const isDefaultSocket = options.bindAddress === undefined && !options.inTemporaryFolder;
  return isDefaultSocket && !options.keepsStaleSockets;
}
