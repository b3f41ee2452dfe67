/**
 * Which PKCS#11 libraries the agent may load: the patterns of `ssh-agent -P`.
 *
 * They are matched against the canonical path, so a symbolic link cannot lead elsewhere. A path that
 * is not absolute is resolved against the agent's working directory before that, as OpenSSH does it;
 * for an agent in the background this is the root directory.
 */

import { matchesPattern } from "./patterns.ts";

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
  const patterns = list.split(",").filter((pattern) => pattern !== "");
  const allowed = patterns.filter((pattern) => !pattern.startsWith("!")).map(asBytes);
  const forbidden = patterns
    .filter((pattern) => pattern.startsWith("!"))
    .map((pattern) => asBytes(pattern.slice(1)));
  return {
    allows(path) {
      const bytes = asBytes(path);
      if (forbidden.some((pattern) => matchesPattern(bytes, pattern))) return false;
      return allowed.some((pattern) => matchesPattern(bytes, pattern));
    },
    allowsAny: allowed.length > 0,
  };
}

/** One character for each byte of the text's UTF-8. */
function asBytes(text: string): string {
  return Buffer.from(text, "utf8").toString("latin1");
}
