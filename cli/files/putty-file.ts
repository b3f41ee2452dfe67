/**
 * The unencrypted part of PuTTY's private key files (`.ppk`, versions 2 and 3; appendix "PPK file
 * format" of PuTTY's manual): lines of `Name: value`, with base64 after names that end in `-Lines`.
 */
import { decodeText } from "../../protocol/text.ts";
import { decodeBase64 } from "./armour.ts";

/** The key derivation parameters of version 3 (RFC 9106). */
export interface Argon2 {
  /** "Argon2id", "Argon2i" or "Argon2d" in a valid file. */
  readonly name: string;
  /** KiB. */
  readonly memory: number;
  readonly passes: number;
  readonly parallelism: number;
  readonly salt: Buffer;
}

/** A file of `puttygen`. */
export interface PuttyFile {
  readonly version: 2 | 3;
  readonly algorithm: string;
  /** "aes256-cbc" or "none". */
  readonly encryption: string;
  /** The raw bytes, which the MAC covers. */
  readonly comment: Buffer;
  /** The blob of the public key or certificate. */
  readonly publicKey: Buffer;
  /** The private part, encrypted or not; the caller overwrites it. */
  readonly body: Buffer;
  /** Undefined in version 2 and without encryption. */
  readonly argon2: Argon2 | undefined;
  readonly mac: Buffer;
}

const heading = "PuTTY-User-Key-File-";

/** Whether a file begins like PuTTY's, in any version. */
export function isPutty(file: Buffer): boolean {
  return file.subarray(0, heading.length).equals(Buffer.from(heading));
}

/**
 * Reads the unencrypted part.
 * @returns undefined if it is damaged or of another version
 */
export function readPuttyFile(file: Buffer): PuttyFile | undefined {
  const fields = readFields(file);
  const version = fields.has(`${heading}3`) ? 3 : 2;
  const algorithm = fields.get(`${heading}${version}`);
  const encryption = fields.get("Encryption");
  const comment = fields.get("Comment");
  const publicKey = decodeBase64(fields.get("Public-Lines") ?? Buffer.alloc(0));
  const mac = decodeHex(fields.get("Private-MAC"));
  const encoded = fields.get("Private-Lines");
  if (algorithm === undefined || encryption === undefined || comment === undefined)
    return undefined;
  if (publicKey === undefined || mac === undefined || encoded === undefined) return undefined;
  const body = decodeBase64(encoded);
  if (body === undefined) return undefined;
  return {
    version,
    algorithm: algorithm.toString("latin1"),
    encryption: encryption.toString("latin1"),
    comment,
    publicKey,
    body,
    argon2: readArgon2(fields),
    mac,
  };
}

/** The public key and comment of a file; undefined for an invalid file. */
export function publicKeyOfPutty(file: Buffer): { blob: Buffer; comment: string } | undefined {
  if (!isPutty(file)) return undefined;
  const putty = readPuttyFile(file);
  if (putty === undefined) return undefined;
  putty.body.fill(0);
  return { blob: putty.publicKey, comment: decodeText(putty.comment) };
}

/** Values by name, as views of `file`. The value of `-Lines` is the lines that follow. */
function readFields(file: Buffer): Map<string, Buffer> {
  const fields = new Map<string, Buffer>();
  let at = 0;
  while (at < file.length) {
    const line = file.subarray(at, endOfLine(file, at));
    const colon = line.indexOf(": ");
    if (colon < 0) break;
    const name = line.toString("latin1", 0, colon);
    const value = line.subarray(colon + 2);
    at = startOfNextLine(file, at);
    if (!name.endsWith("-Lines")) {
      fields.set(name, value);
      continue;
    }
    const start = at;
    const count = readCount(value) ?? 0;
    for (let index = 0; index < count && at < file.length; index++) at = startOfNextLine(file, at);
    fields.set(name, file.subarray(start, at));
  }
  return fields;
}

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

function endOfLine(file: Buffer, start: number): number {
  let at = start;
  while (at < file.length && file[at] !== lineFeed && file[at] !== carriageReturn) at++;
  return at;
}

/** Lines end in LF, CR LF or CR. */
function startOfNextLine(file: Buffer, start: number): number {
  const end = endOfLine(file, start);
  return file[end] === carriageReturn && file[end + 1] === lineFeed ? end + 2 : end + 1;
}

function readArgon2(fields: ReadonlyMap<string, Buffer>): Argon2 | undefined {
  const name = fields.get("Key-Derivation")?.toString("latin1");
  const memory = readCount(fields.get("Argon2-Memory"));
  const passes = readCount(fields.get("Argon2-Passes"));
  const parallelism = readCount(fields.get("Argon2-Parallelism"));
  const salt = decodeHex(fields.get("Argon2-Salt"));
  if (name === undefined || memory === undefined || passes === undefined) return undefined;
  if (parallelism === undefined || salt === undefined) return undefined;
  return { name, memory, passes, parallelism, salt };
}

function readCount(value: Buffer | undefined): number | undefined {
  const digits = value?.toString("latin1") ?? "";
  return /^\d{1,9}$/.test(digits) ? Number(digits) : undefined;
}

function decodeHex(value: Buffer | undefined): Buffer | undefined {
  const digits = value?.toString("latin1") ?? "";
  return /^([0-9a-f]{2})+$/i.test(digits) ? Buffer.from(digits, "hex") : undefined;
}
