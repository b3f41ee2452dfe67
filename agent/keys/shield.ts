/**
 * Encrypts secrets while they are not in use, as OpenSSH shields its keys.
 *
 * The key is the hash of a large random buffer. An attacker who reads memory slowly and with
 * errors, by a side channel or by faults in its cells, has to read that whole buffer without an
 * error.
 */
import { createHash, randomFillSync } from "node:crypto";
import { secretBytes } from "../../protocol/secret-bytes.ts";

/** Bytes of the random buffer, as in OpenSSH. */
const prekeyLength = 16 * 1024;
const nonceLength = 16;

/** A secret that only its shield can open. */
export interface Sealed {
  readonly nonce: Buffer;
  readonly encrypted: Buffer;
}

/** Encrypts secrets under a key that never leaves this process. */
export class Shield {
  readonly #prekey = randomFillSync(Buffer.allocUnsafeSlow(prekeyLength));

  /** Encrypts a secret. The caller overwrites the secret. */
  seal(secret: Buffer): Sealed {
    const nonce = randomFillSync(Buffer.allocUnsafeSlow(nonceLength));
    return { nonce, encrypted: this.#apply(secret, nonce) };
  }

  /** Decrypts a secret into a new buffer, which the caller overwrites. */
  open({ nonce, encrypted }: Sealed): Buffer {
    return this.#apply(encrypted, nonce);
  }

  /**
   * XORs with SHAKE256 of the random buffer and the secret's own nonce. The ciphers of
   * `node:crypto` are unfit: they free a copy of the plaintext without clearing it.
   */
  #apply(bytes: Buffer, nonce: Buffer): Buffer {
    const stream = createHash("shake256", { outputLength: bytes.length })
      .update(this.#prekey)
      .update(nonce)
      .digest();
    const result = secretBytes(bytes.length);
    for (let at = 0; at < bytes.length; at++) {
      result[at] = (bytes[at] as number) ^ (stream[at] as number);
    }
    stream.fill(0);
    return result;
  }
}
