/**
 * Derives encryption keys from passphrases, within limits.
 *
 * A key file sets its own key derivation cost, which could be days or all memory. These parameters
 * are not encrypted, so excessive ones are refused before the passphrase is asked for.
 */
import * as crypto from "node:crypto";
import { promisify } from "node:util";
import { damaged, invalidFormat } from "./loaded-key.ts";
import { type PassphraseTask, runInWorker, runTask } from "./passphrase-task.ts";

/** The parameters of a key derivation function. */
export type Derivation =
  | { readonly type: "bcrypt"; readonly salt: Buffer; readonly rounds: number }
  | {
      readonly type: "pbkdf2";
      readonly salt: Buffer;
      readonly iterations: number;
      /** OpenSSL's name. */
      readonly hash: string;
      /** Bytes. */
      readonly hashLength: number;
    }
  /** RFC 7914. */
  | {
      readonly type: "scrypt";
      readonly salt: Buffer;
      readonly n: number;
      readonly r: number;
      readonly p: number;
    }
  /** RFC 9106. */
  | {
      readonly type: "argon2";
      readonly variant: "Argon2id" | "Argon2i" | "Argon2d";
      readonly salt: Buffer;
      /** KiB. */
      readonly memory: number;
      readonly passes: number;
      readonly parallelism: number;
    };

/** Called before work that takes about this many seconds, with a free event loop; `end` after it. */
export type Announce = (seconds: number) => { end(): void };

/** Seconds on an idle machine of 2020. */
const secondsPer = {
  /** One round for 32 bytes of a key. */
  bcryptRound: 0.008,
  /** One iteration for one hash. */
  pbkdf2Iteration: 0.5e-6,
  /** One step over 128 bytes. */
  scryptStep: 0.4e-6,
  /** One pass over a KiB. */
  argon2Pass: 8e-6,
};

type Argon2 = (
  algorithm: string,
  parameters: object,
  done: (error: Error | null, key: Buffer) => void,
) => void;

/** Argon2 of OpenSSL, in Node.js 24.7 or newer; the types are those of Node.js 20. */
const nativeArgon2 = hasArgon2(crypto) ? crypto.argon2 : undefined;
/** Its time relative to the JavaScript implementation. */
const nativeTimeFactor = 0.2;

/** Argon2 needs OpenSSL 3.2; Node.js may be built with an older one. */
function hasArgon2(found: object): found is { argon2: Argon2 } {
  const [major = 0, minor = 0] = process.versions.openssl.split(".").map(Number);
  return "argon2" in found && (major > 3 || (major === 3 && minor >= 2));
}

/** Seconds after which work is announced and moved to a thread. */
const longWork = 1;
/** Seconds. */
const maxWork = 600;
/** Bytes. */
const maxMemory = 1024 ** 3;

/** The cost of deriving this many bytes. */
function cost(derivation: Derivation, length: number): { seconds: number; bytes: number } {
  switch (derivation.type) {
    case "bcrypt": {
      const { rounds } = derivation;
      return { seconds: rounds * Math.ceil(length / 32) * secondsPer.bcryptRound, bytes: 0 };
    }
    case "pbkdf2": {
      const hashes = derivation.iterations * Math.ceil(length / derivation.hashLength);
      return { seconds: hashes * secondsPer.pbkdf2Iteration, bytes: 0 };
    }
    case "scrypt": {
      const { n, r, p } = derivation;
      return { seconds: n * r * p * secondsPer.scryptStep, bytes: 128 * r * (n + p) };
    }
    case "argon2": {
      const { memory, passes } = derivation;
      return { seconds: memory * passes * secondsPer.argon2Pass, bytes: memory * 1024 };
    }
  }
}

/**
 * Refuses a derivation of more than about ten minutes or 1 GiB of memory.
 * @param length bytes of the key
 * @throws {KeyFileError}
 */
export function checkCost(derivation: Derivation, length: number): void {
  const { seconds, bytes } = cost(derivation, length);
  checkSeconds(seconds);
  if (bytes > maxMemory) {
    const gibibytes = Math.ceil(bytes / maxMemory);
    throw invalidFormat(
      `The file's key derivation needs ${gibibytes} GiB of memory; the limit is 1 GiB.`,
    );
  }
}

function checkSeconds(seconds: number): void {
  if (seconds <= maxWork) return;
  throw invalidFormat("The file's key derivation would take more than ten minutes.");
}

/**
 * Derives a key from a passphrase.
 * @param length bytes of the key
 * @returns the key; the caller overwrites it
 * @throws {KeyFileError}
 */
export async function derive(
  derivation: Derivation,
  passphrase: Buffer,
  length: number,
  announce?: Announce,
): Promise<Buffer> {
  checkCost(derivation, length);
  const isNative = derivation.type === "argon2" && nativeArgon2 !== undefined;
  const seconds = cost(derivation, length).seconds * (isNative ? nativeTimeFactor : 1);
  const isLong = seconds > longWork;
  const announced = isLong ? announce?.(seconds) : undefined;
  try {
    return await make(derivation, passphrase, length, isLong);
  } catch {
    throw damaged();
  } finally {
    announced?.end();
  }
}

/** Node.js runs OpenSSL's functions in its thread pool; the others need a worker for long work. */
function make(
  derivation: Derivation,
  passphrase: Buffer,
  length: number,
  isLong: boolean,
): Promise<Buffer> {
  switch (derivation.type) {
    case "pbkdf2": {
      const { salt, iterations, hash } = derivation;
      return promisify(crypto.pbkdf2)(passphrase, salt, iterations, length, hash);
    }
    case "scrypt": {
      const { salt, n: N, r, p } = derivation;
      return scryptAsync(passphrase, salt, length, { N, r, p, maxmem: 2 * maxMemory });
    }
    case "argon2": {
      if (nativeArgon2 === undefined) break;
      const { variant, salt: nonce, memory, passes, parallelism } = derivation;
      const settings = { nonce, memory, passes, parallelism, tagLength: length };
      const algorithm = variant.toLowerCase();
      return promisify(nativeArgon2)(algorithm, { message: passphrase, ...settings });
    }
    case "bcrypt":
      break;
  }
  const task: PassphraseTask = { ...derivation, passphrase, length };
  return isLong ? runInWorker(task) : runTask(task);
}

type ScryptParameters = { N: number; r: number; p: number; maxmem: number };
const scryptAsync = promisify<Buffer, Buffer, number, ScryptParameters, Buffer>(crypto.scrypt);

/**
 * Decrypts PKCS#8 under a PKCS#12 scheme with OpenSSL, in a thread whose exit frees OpenSSL's copies
 * of the key.
 * @returns unencrypted PKCS#8; undefined if the passphrase is wrong
 * @throws {KeyFileError}
 */
export async function decryptWithOpenSsl(
  der: Buffer,
  iterations: number,
  passphrase: Buffer,
  announce?: Announce,
): Promise<Buffer | undefined> {
  const seconds = iterations * 3 * secondsPer.pbkdf2Iteration;
  const announced = seconds > longWork ? announce?.(seconds) : undefined;
  try {
    return await runInWorker({ type: "pkcs8", der, passphrase });
  } catch {
    return undefined;
  } finally {
    announced?.end();
  }
}

/** Refuses an excessive iteration count of PKCS#8. @throws {KeyFileError} */
export function checkIterations(iterations: number): void {
  checkSeconds(iterations * 3 * secondsPer.pbkdf2Iteration);
}
