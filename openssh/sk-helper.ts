/**
 * `ssh-sk-helper`, OpenSSH's program for FIDO authenticators: its location, and version 5 of its
 * protocol, in use since OpenSSH 8.9.
 *
 * The program reads one request from standard input, writes one answer to standard output, and exits.
 * Both are frames: uint32 length, byte version, uint32 type, fields.
 */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { Failure, malformed } from "../protocol/failure.ts";
import { frame } from "../protocol/framing.ts";
import { type PrivateKey, readPrivateKey, writePrivateKey } from "../protocol/private-key.ts";
import { Reader, Writer } from "../protocol/wire.ts";

const version = 5;
const types = { error: 0, sign: 1, loadResident: 3 } as const;

/** OpenSSH's SYSLOG_LEVEL_ERROR. */
const logError = 2;

/** Where systems install the program. */
const usualPlaces = [
  "/usr/lib/openssh/ssh-sk-helper",
  "/usr/libexec/openssh/ssh-sk-helper",
  "/usr/libexec/ssh-sk-helper",
  "/usr/lib/ssh/ssh-sk-helper",
  "/usr/local/libexec/ssh-sk-helper",
];

/**
 * Finds the program: SSH_SK_HELPER, or the first executable in the usual places.
 * @param hint the failure's hint
 * @throws {Failure} unsupported
 */
export async function findSkHelper(env: NodeJS.ProcessEnv, hint: string): Promise<string> {
  const places = env.SSH_SK_HELPER ? [env.SSH_SK_HELPER] : usualPlaces;
  for (const path of places) {
    const error = await access(path, constants.X_OK).catch((error: unknown) => error);
    if (error === undefined) return path;
  }
  throw missingSkHelper(places[0] ?? "", hint);
}

/** The failure for a program that cannot be run. */
export function missingSkHelper(path: string, hint: string): Failure {
  const sentence = `Keys on FIDO authenticators need OpenSSH's ${path}, which cannot be run.`;
  return new Failure("unsupported", sentence, hint);
}

/** OpenSSH's error numbers (SSH_ERR_*), negated. */
export const skErrors = {
  invalidFormat: 4,
  wrongPin: 43,
  keyNotFound: 46,
  unsupported: 59,
  deviceNotFound: 60,
} as const;

/** An error answer of the helper. */
export class SkHelperError extends Error {
  override readonly name = "SkHelperError";
  /** OpenSSH's error number, negated; see `skErrors`. */
  readonly code: number;

  constructor(code: number) {
    super(`ssh-sk-helper answered error ${code}`);
    this.code = code;
  }
}

/** The parameters of a signature. */
interface SkSigning {
  /** A key of type "sk-ecdsa" or "sk-ed25519". */
  readonly key: PrivateKey;
  /** The path of a library, or "internal". */
  readonly provider: string;
  readonly data: Uint8Array;
  /** Empty for none. */
  readonly pin: Uint8Array;
}

/** Encodes a framed signature request. The caller overwrites it after sending. */
export function encodeSkSigning({ key, provider, data, pin }: SkSigning): Buffer {
  const plain = new Writer();
  writePrivateKey(plain, { ...key, certificate: undefined });
  const writer = begin(types.sign, logError).string(plain.finish()).text(provider);
  // An empty algorithm: the helper uses the key type's only one.
  return finish(writer.string(data).text("").uint32(0).string(pin));
}

/** Decodes an answer's signature blob. @throws {SkHelperError}; {Failure} malformed */
export function decodeSkSignature(answer: Uint8Array): Buffer {
  const reader = open(answer, types.sign);
  const signature = reader.string();
  reader.end();
  return signature;
}

/**
 * Encodes a framed request for an authenticator's resident keys. The caller overwrites it after
 * sending.
 * @param logLevel OpenSSH's log level for the helper's standard error
 */
export function encodeSkResident(provider: string, pin: Uint8Array, logLevel: number): Buffer {
  const anyDevice = "";
  const writer = begin(types.loadResident, logLevel).text(provider).text(anyDevice);
  return finish(writer.string(pin).uint32(0));
}

/** Decodes an answer's keys. @throws {SkHelperError}; {Failure} malformed */
export function decodeSkResident(answer: Uint8Array): PrivateKey[] {
  const reader = open(answer, types.loadResident);
  const keys: PrivateKey[] = [];
  while (reader.remaining > 0) {
    keys.push(readPrivateKey(new Reader(reader.string())));
    const [_comment, _user] = [reader.string(), reader.string()];
  }
  return keys;
}

function begin(type: number, logLevel: number): Writer {
  const toStandardError = true;
  return new Writer(1024).byte(version).uint32(type).bool(toStandardError).uint32(logLevel);
}

function finish(writer: Writer): Buffer {
  const message = writer.finish();
  const framed = frame(message);
  message.fill(0);
  return framed;
}

/** Reads an answer's version and type. @param answer without its length */
function open(answer: Uint8Array, type: number): Reader {
  const reader = new Reader(answer);
  if (reader.byte() !== version) {
    const hint = "Install the ssh-sk-helper of OpenSSH 8.9 or newer.";
    throw new Failure("unsupported", "ssh-sk-helper is of another version.", hint);
  }
  const found = reader.uint32();
  if (found === types.error) throw new SkHelperError(reader.uint32());
  if (found !== type) throw malformed("ssh-sk-helper answered something else.");
  return reader;
}
