/** Public key and certificate files: `id_ed25519.pub`, `id_ed25519-cert.pub`. */
import { readFileSync } from "node:fs";
import { type PublicKeyLine, parsePublicKeyLine } from "../../openssh/public-key-line.ts";
import { parseKeyOrCertificate } from "../../protocol/certificate.ts";
import { decodeText } from "../../protocol/text.ts";
import { errorText } from "../console.ts";
import { withoutByteOrderMark } from "./armour.ts";
import { publicKeyOfContainer } from "./openssh-container.ts";
import { publicKeyOfPutty } from "./putty-file.ts";
import { readRfc4716 } from "./rfc4716.ts";

/** Why a public key file cannot be read, in OpenSSH's words. */
export class PublicKeyFileError extends Error {
  override readonly name = "PublicKeyFileError";
  /** Whether none of the tried files exists. */
  readonly isMissing: boolean;

  constructor(message: string, isMissing: boolean) {
    super(message);
    this.isMissing = isMissing;
  }
}

/**
 * Loads the public key for a path: from the file itself, from `FILE.pub`, or from a private key file
 * in OpenSSH's or PuTTY's format.
 * @throws {PublicKeyFileError}
 */
export function loadPublicKey(path: string): PublicKeyLine {
  const bytes = readOrFail(path);
  try {
    const line = keyWithin(bytes) ?? keyWithin(readOrFail(`${path}.pub`));
    if (line !== undefined) return line;
    // OpenSSH reports any error as a missing file.
    if (bytes instanceof Error) throw new PublicKeyFileError("No such file or directory", true);
    const putty = publicKeyOfPutty(bytes);
    if (putty !== undefined) return putty;
    const blob = publicKeyOfContainer(bytes);
    if (blob !== undefined) return { blob, comment: "no comment" };
    throw new PublicKeyFileError("No such file or directory", false);
  } finally {
    if (!(bytes instanceof Error)) bytes.fill(0);
  }
}

/**
 * Reads a public key or certificate file.
 * @throws {PublicKeyFileError}
 */
export function readPublicKeyFile(path: string): PublicKeyLine {
  const bytes = readOrFail(path);
  if (bytes instanceof Error) throw new PublicKeyFileError(errorText(bytes), true);
  const line = keyWithin(bytes);
  if (line === undefined) throw new PublicKeyFileError("invalid format", false);
  return line;
}

/** The first valid key of a file; undefined for a private key and an unreadable file. */
function keyWithin(file: Buffer | Error): PublicKeyLine | undefined {
  if (file instanceof Error || isPrivate(file)) return undefined;
  const bytes = withoutByteOrderMark(file);
  for (const line of decodeText(bytes).split(/\r?\n/)) {
    if (/^[ \t]*(#|$)/.test(line)) continue;
    const key = parsePublicKeyLine(line);
    if (key !== undefined) return key;
  }
  const other = readRfc4716(bytes);
  return other !== undefined && isKnown(other.blob) ? other : undefined;
}

function isKnown(blob: Buffer): boolean {
  try {
    return parseKeyOrCertificate(blob) !== undefined;
  } catch {
    return false;
  }
}

/** Private keys are not decoded as text, which would leave a copy. */
function isPrivate(bytes: Buffer): boolean {
  return bytes.includes("-----BEGIN") || bytes.includes("PuTTY-User-Key-File");
}

function readOrFail(path: string): Buffer | Error {
  try {
    return readFileSync(path);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}
