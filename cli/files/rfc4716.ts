/**
 * Public keys in the form of RFC 4716: what ssh.com's programs, PuTTY's and `ssh-keygen -e` write.
 *
 * `ssh2-streams` reads RSA and DSA keys in this form. Of the other types only the body is read.
 */
import { createRequire } from "node:module";
import { decodeBase64 } from "./armour.ts";

const begin = "---- BEGIN SSH2 PUBLIC KEY ----";
const end = "---- END SSH2 PUBLIC KEY ----";

/** A key blob, not looked into yet. */
interface Rfc4716 {
  readonly blob: Buffer;
  readonly comment: string;
}

/** Reads a public key; undefined for what has another form. */
export function readRfc4716(file: Buffer): Rfc4716 | undefined {
  const text = file.toString("utf8").replace(/\r\n?/g, "\n").trim();
  if (!text.startsWith(begin) || !text.endsWith(end)) return undefined;
  // Not imported above: loading it takes as long as listing the agent's keys does.
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
