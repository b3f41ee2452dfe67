/**
 * Synchronous key derivation and decryption with a passphrase. Long tasks run in a worker thread, so
 * that the spinner and Ctrl-C work meanwhile.
 */
import { dirname, join } from "node:path";
import { secretBytes } from "../../protocol/secret-bytes.ts";

/** One task with its parameters. */
export type PassphraseTask =
  | {
      readonly type: "bcrypt";
      readonly passphrase: Uint8Array;
      readonly salt: Uint8Array;
      readonly rounds: number;
      /** Length of the key in bytes. */
      readonly length: number;
    }
  | {
      readonly type: "argon2";
      readonly passphrase: Uint8Array;
      readonly variant: "Argon2id" | "Argon2i" | "Argon2d";
      readonly salt: Uint8Array;
      /** KiB. */
      readonly memory: number;
      readonly passes: number;
      readonly parallelism: number;
      readonly length: number;
    }
  /** Decrypts PKCS#8 with OpenSSL. */
  | { readonly type: "pkcs8"; readonly der: Uint8Array; readonly passphrase: Uint8Array };

/** Runs a task in this thread. @throws if it fails */
export async function runTask(task: PassphraseTask): Promise<Buffer> {
  switch (task.type) {
    case "bcrypt":
      return bcryptPbkdf(task);
    case "argon2": {
      const { argon2d, argon2i, argon2id } = await import("@noble/hashes/argon2.js");
      const variants = { Argon2id: argon2id, Argon2i: argon2i, Argon2d: argon2d };
      const { memory: m, passes: t, parallelism: p, length: dkLen } = task;
      const key = variants[task.variant](task.passphrase, task.salt, { m, t, p, dkLen });
      return Buffer.from(key.buffer, key.byteOffset, key.length);
    }
    case "pkcs8": {
      const { createPrivateKey } = await import("node:crypto");
      const key = Buffer.from(task.der);
      const passphrase = Buffer.from(task.passphrase);
      const form = { format: "der", type: "pkcs8" } as const;
      try {
        return createPrivateKey({ key, passphrase, ...form }).export(form);
      } finally {
        passphrase.fill(0);
      }
    }
  }
}

const maxSalt = 1 << 20;

/**
 * OpenBSD's bcrypt_pbkdf(3). The package's own leaves the passphrase in memory: its SHA-512 copies it,
 * and does not overwrite the copy.
 */
async function bcryptPbkdf({
  passphrase,
  salt,
  rounds,
  length,
}: Extract<PassphraseTask, { readonly type: "bcrypt" }>): Promise<Buffer> {
  const { hash: digest } = await import("node:crypto");
  const { default: bcrypt } = await import("bcrypt-pbkdf");
  if (salt.length > maxSalt) throw new Error("The salt is too long.");
  const password = digest("sha512", passphrase, "buffer");
  const key = secretBytes(length);
  const [sum, part] = [secretBytes(32), secretBytes(32)];
  const blocks = Math.ceil(length / sum.length);
  for (let block = 0; block < blocks; block++) {
    const number = Buffer.of(0, 0, 0, block + 1);
    sum.fill(0);
    let input: Uint8Array = Buffer.concat([salt, number]);
    for (let round = 0; round < rounds; round++) {
      bcrypt.hash(password, digest("sha512", input, "buffer"), part);
      for (const [at, byte] of part.entries()) sum[at] = (sum[at] as number) ^ byte;
      input = part;
    }
    for (let at = block; at < length; at += blocks)
      key[at] = sum[Math.floor(at / blocks)] as number;
  }
  for (const secret of [password, sum, part]) secret.fill(0);
  return key;
}

/** The built worker, also when run from source: a worker thread cannot run TypeScript. */
const workerFile = import.meta.url.startsWith("file:")
  ? new URL("../../dist/lib/key-worker.js", import.meta.url)
  : join(dirname(import.meta.url), "..", "lib", "key-worker.js");

/** Runs a task in a worker thread. @throws if it fails */
export async function runInWorker(task: PassphraseTask): Promise<Buffer> {
  const { Worker } = await import("node:worker_threads");
  return new Promise((resolve, reject) => {
    const worker = new Worker(workerFile, { workerData: task });
    let key: Uint8Array | undefined;
    worker.on("message", (result: Uint8Array) => {
      key = result;
    });
    worker.on("error", reject);
    // The exit of the thread frees the copies that libraries made of the secrets.
    worker.on("exit", () => {
      if (key === undefined) reject(new Error("The thread has ended."));
      else resolve(Buffer.from(key.buffer, key.byteOffset, key.length));
    });
  });
}
