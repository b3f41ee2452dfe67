/** Host keys from known_hosts files (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"). */
import { createHmac } from "node:crypto";
import { lowerCase, matchesHostList } from "../../openssh/patterns.ts";
import { decodeExactBase64 } from "../../openssh/public-key-line.ts";
import type { HostKey } from "../../protocol/constraints.ts";
import { blobAlgorithm, blobId, decodePublicKey } from "../../protocol/public-key.ts";

/** A line with a key of the host. */
interface KnownHost {
  readonly marker: "" | "@cert-authority" | "@revoked";
  readonly keyBlob: Buffer;
}

/**
 * The keys of a host and of the CAs for it, in the order of the lines, without keys revoked for it.
 * @param texts the contents of known_hosts files
 * @param host a name or address, or `[host]:port` for a port other than 22
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

/** @returns undefined for empty, comment and invalid lines, and for other hosts */
function parseLine(line: string, name: string): KnownHost | undefined {
  const fields = line.trim().split(/[ \t]+/);
  const marker = fields[0]?.startsWith("@") ? (fields.shift() ?? "") : "";
  if (marker !== "" && marker !== "@cert-authority" && marker !== "@revoked") return undefined;
  const [hosts, algorithm, base64] = fields;
  if (hosts === undefined || hosts.startsWith("#") || base64 === undefined) return undefined;
  const isMatch = hosts.startsWith("|") ? matchesHash(hosts, name) : matchesHostList(name, hosts);
  if (!isMatch) return undefined;
  const keyBlob = decodeExactBase64(base64);
  if (keyBlob === undefined) return undefined;
  try {
    const isKnown = decodePublicKey(keyBlob) !== undefined;
    return isKnown && blobAlgorithm(keyBlob) === algorithm ? { marker, keyBlob } : undefined;
  } catch {
    return undefined;
  }
}

/** `|1|SALT|HASH`: HMAC-SHA1 of the name, with the salt as key, both in base64. */
function matchesHash(hosts: string, name: string): boolean {
  const [, version, salt, hash] = hosts.split("|");
  if (version !== "1" || salt === undefined || hash === undefined) return false;
  const key = decodeExactBase64(salt);
  return key !== undefined && createHmac("sha1", key).update(name).digest("base64") === hash;
}
