/**
 * Work on passphrases that holds a thread up: done here where it is short, and in a thread of its own
 * where it is not, so that a spinner turns and Ctrl-C is heard.
 */
import { dirname, join } from "node:path";
import { secretBytes } from "../../protocol/secret-bytes.ts";

/** What is to be done, with all that is needed for it. */
export type CostlyTask =
  | {
      readonly type: "bcrypt";
      readonly passphrase: Uint8Array;
      readonly salt: Uint8Array;
      readonly rounds: number;
      /** Bytes of the key. */
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
  /** Has OpenSSL decrypt PKCS#8. */
  | { readonly type: "pkcs8"; readonly der: Uint8Array; readonly passphrase: Uint8Array };

/** Does it in this thread. @throws when it cannot be done */
export async function runHere(task: CostlyTask): Promise<Buffer> {
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

/** The thread's program as it is built, for the source too: Node.js starts no thread in TypeScript. */
const workerFile = import.meta.url.startsWith("file:")
  ? new URL("../../dist/lib/key-worker.js", import.meta.url)
  : join(dirname(import.meta.url), "..", "lib", "key-worker.js");

/** Does it in another thread. @throws when it cannot be done */
export async function runAside(task: CostlyTask): Promise<Buffer> {
  const { Worker } = await import("node:worker_threads");
  return new Promise((resolve, reject) => {
    const worker = new Worker(workerFile, { workerData: task });
    let key: Uint8Array | undefined;
    worker.on("message", (result: Uint8Array) => {
      key = result;
    });
    worker.on("error", reject);
    // With the thread go the copies that libraries made in it.
    worker.on("exit", () => {
      if (key === undefined) reject(new Error("The thread has ended."));
      else resolve(Buffer.from(key.buffer, key.byteOffset, key.length));
    });
  });
}
