/**
 * Which PKCS#11 libraries the agent may load: the patterns of `ssh-agent -P`.
 *
 * They are matched against the canonical path, so a symbolic link cannot lead elsewhere. A path that
 * is not absolute is resolved against the agent's working directory before that, as OpenSSH does it;
 * for an agent in the background this is the root directory.
 */
import { matchesPatternList } from "../../openssh/patterns.ts";

/** The patterns that hold without `-P`, as in OpenSSH. */
export const defaultAllowedProviders = "/usr/lib*/*,/usr/local/lib*/*";

/** The libraries that may be loaded. */
export interface AllowedProviders {
  /** Whether the library with this canonical path may be loaded. */
  allows(path: string): boolean;
  /** Whether there is any that may be. */
  readonly allowsAny: boolean;
}

/**
 * Reads a list of patterns as OpenSSH does (ssh_config(5), PATTERNS): separated by commas; `*` stands
 * for any bytes, also `/`, and `?` for one byte; a pattern behind `!` forbids what it matches,
 * whatever the others say. A list without a match allows nothing.
 */
export function parseAllowedProviders(list: string): AllowedProviders {
  return {
    allows: (path) => matchesPatternList(path, list),
    allowsAny: list.split(",").some((pattern) => pattern !== "" && !pattern.startsWith("!")),
  };
}
