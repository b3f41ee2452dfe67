/**
 * `ssh-sk-helper`, OpenSSH's program that speaks with FIDO authenticators: where it is, and its
 * messages in their version 5, which OpenSSH has had since 8.9.
 *
 * The program takes one request on its standard input, answers on its standard output, and ends.
 * Both are frames of a uint32 length, the version, a uint32 type, and the fields.
 */
import { constants } from "node:fs";
import { access } from "node:fs/promises";
import { Failure, malformed } from "../protocol/failure.ts";
import { frame } from "../protocol/framing.ts";
import { type PrivateKey, readPrivateKey, writePrivateKey } from "../protocol/private-key.ts";
import { Reader, Writer } from "../protocol/wire.ts";

const version = 5;
const types = { error: 0, sign: 1, loadResident: 3 } as const;

/** How much the helper says on its standard error: OpenSSH's level for faults. */
const skLogFaults = 2;

/** Where systems have the program. */
const usualPlaces = [
  "/usr/lib/openssh/ssh-sk-helper",
  "/usr/libexec/openssh/ssh-sk-helper",
  "/usr/libexec/ssh-sk-helper",
  "/usr/lib/ssh/ssh-sk-helper",
  "/usr/local/libexec/ssh-sk-helper",
];

/**
 * Finds the program: that of SSH_SK_HELPER, or the first of the usual places where it can be run.
 * @param hint what to say where there is none
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

/** The failure of a program that cannot be run. */
export function missingSkHelper(path: string, hint: string): Failure {
  const sentence = `Keys on FIDO authenticators need OpenSSH's ${path}, which cannot be run.`;
  return new Failure("unsupported", sentence, hint);
}

/** OpenSSH's numbers for what goes wrong, without their sign. */
export const skErrors = {
  invalidFormat: 4,
  wrongPin: 43,
  keyNotFound: 46,
  unsupported: 59,
  deviceNotFound: 60,
} as const;

/** The helper's answer that it could not do it. */
export class SkHelperError extends Error {
  override readonly name = "SkHelperError";
  /** One of OpenSSH's error numbers, without its sign; see `skErrors`. */
  readonly code: number;

  constructor(code: number) {
    super(`ssh-sk-helper answered error ${code}`);
    this.code = code;
  }
}

/** What to sign, and with what. */
interface SkSigning {
  /** A key of type "sk-ecdsa" or "sk-ed25519". */
  readonly key: PrivateKey;
  /** The path of a library, or "internal". */
  readonly provider: string;
  readonly data: Uint8Array;
  /** Empty for none. */
  readonly pin: Uint8Array;
}

/** A request for a signature, with its length in front; overwrite it once it is sent. */
export function encodeSkSigning({ key, provider, data, pin }: SkSigning): Buffer {
  const plain = new Writer();
  writePrivateKey(plain, { ...key, certificate: undefined });
  const writer = begin(types.sign, skLogFaults).string(plain.finish()).text(provider);
  // The algorithm is left to the helper; there is one for each kind of key.
  return finish(writer.string(data).text("").uint32(0).string(pin));
}

/** The signature blob of an answer. @throws {SkHelperError}; {Failure} malformed */
export function decodeSkSignature(answer: Uint8Array): Buffer {
  const reader = open(answer, types.sign);
  const signature = reader.string();
  reader.end();
  return signature;
}

/**
 * A request for the keys that an authenticator keeps itself, with its length in front; overwrite it
 * once it is sent.
 * @param logLevel how much the helper says on its standard error
 */
export function encodeSkResident(provider: string, pin: Uint8Array, logLevel: number): Buffer {
  const anyDevice = "";
  const writer = begin(types.loadResident, logLevel).text(provider).text(anyDevice);
  return finish(writer.string(pin).uint32(0));
}

/** The keys of an answer. @throws {SkHelperError}; {Failure} malformed */
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

/** Reads what is in front of an answer's fields. @param answer without its length */
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
