/**
 * Keys from passphrases, as the formats of key files have them made: what it costs, and doing it.
 *
 * A file says how much work its key is, so a file could ask for days or for all memory. What is
 * needed to know that is not encrypted: too much of it is refused before a passphrase is asked for.
 */
import * as crypto from "node:crypto";
import { promisify } from "node:util";
import { type CostlyTask, runAside, runHere } from "./costly-task.ts";
import { damaged, invalidFormat } from "./loaded-key.ts";

/** How a key is made, without the passphrase. */
export type Derivation =
  | { readonly type: "bcrypt"; readonly salt: Buffer; readonly rounds: number }
  | {
      readonly type: "pbkdf2";
      readonly salt: Buffer;
      readonly iterations: number;
      /** OpenSSL's name. */
      readonly hash: string;
      /** Bytes of a hash. */
      readonly hashLength: number;
    }
  /** RFC 7914, with its names. */
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

/**
 * Told before work that takes seconds, with about how many; `end` is called when it is done. The
 * event loop is free meanwhile.
 */
export type Announce = (seconds: number) => { end(): void };

const unannounced: Announce = () => ({ end: () => {} });

/** Seconds on a machine of 2020 that does nothing else. */
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
/** The part of our own Argon2's time that it takes. */
const nativeShare = 0.2;

/** OpenSSL has it since 3.2, and Node.js may have been built with an older one. */
function hasArgon2(found: object): found is { argon2: Argon2 } {
  const [major = 0, minor = 0] = process.versions.openssl.split(".").map(Number);
  return "argon2" in found && (major > 3 || (major === 3 && minor >= 2));
}

/** What passes for short, and needs neither a word nor a thread. */
const shortWork = 1;
const maxWork = 600;
const largestMemory = 1024 ** 3;

/** The work for a key of this many bytes. */
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
 * Refuses what would take more than about ten minutes, or more than 1 GiB of memory.
 * @param length bytes of the key
 * @throws {KeyFileError}
 */
export function refuseExcess(derivation: Derivation, length: number): void {
  const { seconds, bytes } = cost(derivation, length);
  refuseLongWork(seconds);
  if (bytes > largestMemory) {
    const gibibytes = Math.ceil(bytes / largestMemory);
    throw invalidFormat(
      `The file asks for ${gibibytes} GiB of memory to make its key from a passphrase; 1 GiB is the most.`,
    );
  }
}

function refuseLongWork(seconds: number): void {
  if (seconds <= maxWork) return;
  throw invalidFormat(
    "The file asks for more than ten minutes of work to make its key from a passphrase.",
  );
}

/**
 * Makes a key from a passphrase.
 * @param length bytes of the key
 * @returns the key, the caller's to overwrite
 * @throws {KeyFileError}
 */
export async function derive(
  derivation: Derivation,
  passphrase: Buffer,
  length: number,
  announce: Announce = unannounced,
): Promise<Buffer> {
  refuseExcess(derivation, length);
  const isNative = derivation.type === "argon2" && nativeArgon2 !== undefined;
  const seconds = cost(derivation, length).seconds * (isNative ? nativeShare : 1);
  const announced = seconds > shortWork ? announce(seconds) : undefined;
  try {
    return await make(derivation, passphrase, length, seconds > shortWork);
  } catch {
    throw damaged();
  } finally {
    announced?.end();
  }
}

/** OpenSSL works in a thread of its own by itself. */
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
      return scryptAsync(passphrase, salt, length, { N, r, p, maxmem: 2 * largestMemory });
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
  const task: CostlyTask = { ...derivation, passphrase, length };
  return isLong ? runAside(task) : runHere(task);
}

type ScryptParameters = { N: number; r: number; p: number; maxmem: number };
const scryptAsync = promisify<Buffer, Buffer, number, ScryptParameters, Buffer>(crypto.scrypt);

/**
 * Decrypts PKCS#8 of the older kinds with OpenSSL, whose copies of the key end with a thread.
 * @param iterations how often the file wants a hash made
 * @returns PKCS#8 without encryption; undefined when the passphrase is not the right one
 * @throws {KeyFileError}
 */
export async function decryptWithOpenSsl(
  der: Buffer,
  iterations: number,
  passphrase: Buffer,
  announce: Announce = unannounced,
): Promise<Buffer | undefined> {
  const seconds = iterations * 3 * secondsPer.pbkdf2Iteration;
  const announced = seconds > shortWork ? announce(seconds) : undefined;
  try {
    return await runAside({ type: "pkcs8", der, passphrase });
  } catch {
    return undefined;
  } finally {
    announced?.end();
  }
}

/** Refuses an iteration count of PKCS#8 that is too large. @throws {KeyFileError} */
export function refuseIterations(iterations: number): void {
  refuseLongWork(iterations * 3 * secondsPer.pbkdf2Iteration);
}
