/**
 * The PKCS#11 libraries that the agent may load: the patterns of `ssh-agent -P`.
 *
 * Patterns match the canonical path, so a symbolic link cannot lead elsewhere. As in OpenSSH, relative
 * paths are resolved against the agent's working directory, which is `/` for an agent in the background.
 */
import { matchesPatternList } from "../../openssh/patterns.ts";

/** The patterns without `-P`, as in OpenSSH. */
export const defaultAllowedProviders = "/usr/lib*/*,/usr/local/lib*/*";

/** The libraries that may be loaded. */
export interface AllowedProviders {
  /** Whether the library with this canonical path may be loaded. */
  allows(path: string): boolean;
  /** Whether any library may be loaded. */
  readonly allowsAny: boolean;
}

/**
 * Parses a comma-separated list of patterns as OpenSSH does (ssh_config(5), PATTERNS): `*` matches any
 * bytes, also `/`, and `?` one byte; a match of a pattern after `!` forbids a library in any case.
 */
export function parseAllowedProviders(list: string): AllowedProviders {
  return {
    allows: (path) => matchesPatternList(path, list),
    allowsAny: list.split(",").some((pattern) => pattern !== "" && !pattern.startsWith("!")),
  };
}
