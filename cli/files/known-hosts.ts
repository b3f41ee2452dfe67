/** known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"): which keys a host is known by. */
import { createHmac } from "node:crypto";
import { lowerCase, matchesHostList } from "../../openssh/patterns.ts";
import type { HostKey } from "../../protocol/constraints.ts";
import { blobAlgorithm, blobId, decodePublicKey } from "../../protocol/public-key.ts";
import { decodeExactBase64 } from "./armour.ts";

/** A line that gives a key of the host. */
interface KnownHost {
  readonly marker: "" | "@cert-authority" | "@revoked";
  readonly keyBlob: Buffer;
}

/**
 * The keys that a host is known by, and those of the CAs that certify its keys, in the order
 * of the lines. A key that is revoked for the host is left out.
 * @param texts the contents of known_hosts files
 * @param host a name or address, as `[host]:port` for a port other than 22
 */
export function findHostKeys(texts: readonly string[], host: string): HostKey[] {
  const name = lowerCase(host);
  const lines = texts
    .flatMap((text) => text.split("\n"))
    .map((line) => parseLine(line, name))
    .filter((line) => line !== undefined);
  const revoked = new Set(
    lines.filter(({ marker }) => marker === "@revoked").map(({ keyBlob }) => blobId(keyBlob)),
  );
  const found = new Map<string, HostKey>();
  for (const line of lines) {
    const isCa = line.marker === "@cert-authority";
    const key = blobId(line.keyBlob);
    const id = `${isCa ? "CA" : "host"} ${key}`;
    if (revoked.has(key) || found.has(id)) continue;
    found.set(id, { keyBlob: line.keyBlob, isCa });
  }
  return [...found.values()];
}

/** Lines that are empty, comments, not understood, or for other hosts give nothing. */
function parseLine(line: string, name: string): KnownHost | undefined {
  const fields = line.trim().split(/[ \t]+/);
  const marker = fields[0]?.startsWith("@") ? (fields.shift() ?? "") : "";
  if (marker !== "" && marker !== "@cert-authority" && marker !== "@revoked") return undefined;
  const [hosts, algorithm, base64] = fields;
  if (hosts === undefined || hosts.startsWith("#") || base64 === undefined) return undefined;
  if (!matches(hosts, name)) return undefined;
  const keyBlob = decodeExactBase64(base64);
  if (keyBlob === undefined) return undefined;
  try {
    const isKnown = decodePublicKey(keyBlob) !== undefined;
    return isKnown && blobAlgorithm(keyBlob) === algorithm ? { marker, keyBlob } : undefined;
  } catch {
    return undefined;
  }
}

function matches(hosts: string, name: string): boolean {
  return hosts.startsWith("|") ? matchesHash(hosts, name) : matchesHostList(name, hosts);
}

/** `|1|SALT|HASH`: HMAC-SHA1 of the name under the salt, both in base64. */
function matchesHash(hosts: string, name: string): boolean {
  const [, version, salt, hash] = hosts.split("|");
  if (version !== "1" || salt === undefined || hash === undefined) return false;
  const key = decodeExactBase64(salt);
  return key !== undefined && createHmac("sha1", key).update(name).digest("base64") === hash;
}
