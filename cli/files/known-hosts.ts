/** known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): which keys a host is known by. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { HostKey } from "../../protocol/constraints.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";

/** A line that names hosts and a key of theirs. */
interface KnownHost {
  readonly marker: "" | "@cert-authority" | "@revoked";
  /** Patterns between commas, or one hashed name. */
  readonly hosts: string;
  readonly keyBlob: Buffer;
}

/**
 * The keys that a host is known by, and those of the authorities that certify its keys, in the order
 * of the lines. A key that is revoked for the host is left out.
 * @param texts the contents of known_hosts files
 * @param host a name or address, as `[host]:port` for a port other than 22
 */
export function findHostKeys(texts: readonly string[], host: string): HostKey[] {
  const name = host.toLowerCase();
  const lines = texts
    .flatMap((text) => text.split("\n"))
    .map(parseLine)
    .filter((line) => line !== undefined)
    .filter((line) => matches(line.hosts, name));
  const revoked = lines.filter(({ marker }) => marker === "@revoked");
  const found: HostKey[] = [];
  for (const { marker, keyBlob } of lines) {
    if (revoked.some((line) => line.keyBlob.equals(keyBlob))) continue;
    const key = { keyBlob, isCa: marker === "@cert-authority" };
    if (!found.some((known) => known.isCa === key.isCa && known.keyBlob.equals(keyBlob))) {
      found.push(key);
    }
  }
  return found;
}

/** Lines that are empty, comments, or not understood give nothing. */
function parseLine(line: string): KnownHost | undefined {
  const fields = line.trim().split(/[ \t]+/);
  const marker = fields[0]?.startsWith("@") ? (fields.shift() ?? "") : "";
  if (marker !== "" && marker !== "@cert-authority" && marker !== "@revoked") return undefined;
  const [hosts, algorithm, base64] = fields;
  if (hosts === undefined || hosts.startsWith("#") || base64 === undefined) return undefined;
  const keyBlob = Buffer.from(base64, "base64");
  try {
    if (decodePublicKey(keyBlob) === undefined) return undefined;
  } catch {
    return undefined;
  }
  return keyBlob.toString("latin1", 4, 4 + keyBlob.readUInt32BE(0)) === algorithm
    ? { marker, hosts, keyBlob }
    : undefined;
}

function matches(hosts: string, name: string): boolean {
  return hosts.startsWith("|") ? matchesHash(hosts, name) : matchesPatterns(hosts, name);
}

/** `|1|SALT|HASH`: HMAC-SHA1 of the name under the salt, both in base64. */
function matchesHash(hosts: string, name: string): boolean {
  const [, version, salt, hash] = hosts.split("|");
  if (version !== "1" || salt === undefined || hash === undefined) return false;
  const expected = Buffer.from(hash, "base64");
  const digest = createHmac("sha1", Buffer.from(salt, "base64")).update(name).digest();
  return digest.length === expected.length && timingSafeEqual(digest, expected);
}

/** Patterns with `*` and `?`; one behind a `!` that matches rules the host out. */
function matchesPatterns(hosts: string, name: string): boolean {
  let isMatch = false;
  for (const pattern of hosts.toLowerCase().split(",")) {
    if (pattern.startsWith("!")) {
      if (matchesPattern(pattern.slice(1), name)) return false;
    } else if (matchesPattern(pattern, name)) isMatch = true;
  }
  return isMatch;
}

function matchesPattern(pattern: string, name: string): boolean {
  const parts = Array.from(pattern, (symbol) => {
    if (symbol === "*") return ".*";
    return symbol === "?" ? "." : symbol.replace(/[\\^$.|+()[\]{}/-]/, "\\$&");
  });
  return new RegExp(`^${parts.join("").replace(/(\.\*)+/g, ".*")}$`, "s").test(name);
}
