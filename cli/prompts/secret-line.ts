/** A secret line of input, in a buffer that is overwritten. */
import { secretBytes } from "../../protocol/secret-bytes.ts";

/** Longer lines are truncated, as in OpenSSH. */
const maxLength = 1023;

/** Collects the bytes of a secret. */
export class SecretLine {
  readonly #bytes = Buffer.alloc(maxLength);
  #length = 0;

  /** Adds a byte, unless the line is full. */
  add(byte: number): void {
    if (this.#length < maxLength) this.#bytes[this.#length++] = byte;
  }

  /** Erases the last UTF-8 character. */
  eraseCharacter(): void {
    while (this.#length > 0) {
      const last = this.#bytes[--this.#length] as number;
      this.#bytes[this.#length] = 0;
      if ((last & 0xc0) !== 0x80) return;
    }
  }

  eraseAll(): void {
    this.#bytes.fill(0);
    this.#length = 0;
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** Returns the line in a new buffer, and erases this one. */
  finish(): Buffer {
    const secret = secretBytes(this.#length);
    this.#bytes.copy(secret, 0, 0, this.#length);
    this.eraseAll();
    return secret;
  }
}
