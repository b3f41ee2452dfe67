/** A line that is typed and not shown: its bytes, kept where they can be overwritten. */
import { secretBytes } from "../../protocol/secret-bytes.ts";

/** Longer lines are cut, as in OpenSSH. */
const maxLength = 1023;

/** Bytes of a secret as they come in. */
export class SecretLine {
  readonly #bytes = Buffer.alloc(maxLength);
  #length = 0;

  /** Adds a byte; those beyond 1023 are dropped. */
  add(byte: number): void {
    if (this.#length < maxLength) this.#bytes[this.#length++] = byte;
  }

  /** Takes back the last character, which in UTF-8 may be several bytes. */
  eraseCharacter(): void {
    while (this.#length > 0) {
      const last = this.#bytes[--this.#length] as number;
      this.#bytes[this.#length] = 0;
      if ((last & 0xc0) !== 0x80) return;
    }
  }

  /** Takes back everything. */
  eraseAll(): void {
    this.#bytes.fill(0);
    this.#length = 0;
  }

  get isEmpty(): boolean {
    return this.#length === 0;
  }

  /** The line as a buffer of its own; what this object held is overwritten. */
  finish(): Buffer {
    const secret = secretBytes(this.#length);
    this.#bytes.copy(secret, 0, 0, this.#length);
    this.eraseAll();
    return secret;
  }
}
