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
    case "bcrypt": {
      const { passphrase, salt, rounds, length } = task;
      const { default: bcrypt } = await import("bcrypt-pbkdf");
      const key = secretBytes(length);
      const failed = bcrypt.pbkdf(
        passphrase,
        passphrase.length,
        salt,
        salt.length,
        key,
        length,
        rounds,
      );
      if (failed !== 0) throw new Error("bcrypt_pbkdf does not take this.");
      return key;
    }
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
