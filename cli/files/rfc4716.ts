/**
 * Public keys in RFC 4716 format, as written by ssh.com's programs, PuTTY and `ssh-keygen -e`.
 *
 * `ssh2-streams` parses RSA and DSA keys. Of other types only the body is read, not the comment.
 */
import { createRequire } from "node:module";
import { decodeBase64 } from "./armour.ts";

const begin = "---- BEGIN SSH2 PUBLIC KEY ----";
const end = "---- END SSH2 PUBLIC KEY ----";

/** Reads a public key; undefined for another format. The blob may be invalid. */
export function readRfc4716(file: Buffer): { blob: Buffer; comment: string } | undefined {
  const text = file.toString("utf8").replace(/\r\n?/g, "\n").trim();
  if (!text.startsWith(begin) || !text.endsWith(end)) return undefined;
  // Loaded on demand: this takes as long as listing the agent's keys.
  const ssh2: unknown = createRequire(import.meta.url)("ssh2-streams");
  const key = isSsh2(ssh2) ? ssh2.utils.parseKey(text) : undefined;
  if (isKey(key)) return { blob: key.getPublicSSH(), comment: key.comment };
  const headers = /^[\x21-\x7e]+:.*(?:\\\n.*)*\n/gm;
  const body = text.slice(begin.length, -end.length).replace(/^\n/, "").replace(headers, "");
  const blob = decodeBase64(Buffer.from(body));
  return blob && { blob, comment: "" };
}

interface Ssh2 {
  readonly utils: { parseKey(text: string): unknown };
}

function isSsh2(value: unknown): value is Ssh2 {
  return typeof value === "object" && value !== null && "utils" in value;
}

function isKey(value: unknown): value is { comment: string; getPublicSSH(): Buffer } {
  return typeof value === "object" && value !== null && "getPublicSSH" in value;
}
