/**
 * The PKCS#11 libraries that the agent may load: the patterns of `ssh-agent -P`.
 *
 * Patterns match the canonical path, so a symbolic link cannot lead elsewhere. As in OpenSSH, relative
 * paths are resolved against the agent's working directory, which is `/` for an agent in the background.
 */
import { matchesPattern, matchesPatternList } from "../../openssh/patterns.ts";
import { shellWord } from "../host/environment.ts";
import { systemdWord } from "../host/systemd.ts";

/** The patterns without `-P`, as in OpenSSH. */
export const defaultAllowedProviders = "/usr/lib*/*,/usr/local/lib*/*";

/** The libraries that may be loaded. */
export interface AllowedProviders {
  /** Whether the library with this canonical path may be loaded. */
  allows(path: string): boolean;
  /** Whether any library may be loaded. */
  readonly allowsAny: boolean;
  /** How to start the agent so that it may load this library too. */
  hintFor(path: string): string;
}

/** A systemd service, and the command line that it runs, without `-P`. */
export interface ServiceCommand {
  readonly unit: string;
  readonly words: readonly string[];
}

/**
 * Parses a comma-separated list of patterns as OpenSSH does (ssh_config(5), PATTERNS): `*` matches any
 * bytes, also `/`, and `?` one byte; a match of a pattern after `!` forbids a library in any case.
 * @param service the service that the agent is, if it is one
 */
export function parseAllowedProviders(list: string, service?: ServiceCommand): AllowedProviders {
  return {
    allows: (path) => matchesPatternList(path, list),
    allowsAny: list.split(",").some((pattern) => pattern !== "" && !pattern.startsWith("!")),
    hintFor(path) {
      const forbidding = list.split(",").filter((pattern) => forbids(pattern, path));
      const start = startHint(listWith(path, list), service);
      return forbidding.length === 0
        ? start
        : `The list of -P forbids it with ${forbidding.join(",")}, which is left out here. ${start}`;
    },
  };
}

/** The list with a library's path, and without what forbids it. */
function listWith(path: string, list: string): string {
  const kept = list.split(",").filter((pattern) => pattern !== "" && !forbids(pattern, path));
  // No character can be escaped: a question mark stands for a comma or a star.
  return [...kept, path.replace(/[,*]/g, "?")].join(",");
}

function forbids(pattern: string, path: string): boolean {
  return pattern.startsWith("!") && matchesPattern(path, pattern.slice(1));
}

function startHint(list: string, service: ServiceCommand | undefined): string {
  if (service === undefined) return `Start ssh-agent with: -P ${shellWord(list)}`;
  const { unit, words } = service;
  const command = [...words, "-P", list].map(systemdWord).join(" ");
  return `Restart ${unit} after "systemctl --user edit ${unit}" with three lines: [Service], ExecStart= and ExecStart=${command}`;
}
