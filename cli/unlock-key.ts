/** Decrypting private key files: without a passphrase, with the last one that worked, or by asking. */
import type { Context } from "./context.ts";
import { KeyFileError, type LoadedKey } from "./files/loaded-key.ts";
import { readPrivateKeyFile } from "./files/private-key-file.ts";
import { Spinner } from "./spinner.ts";

/**
 * How often an askpass program is asked for the passphrase of a file: one that is a script would give
 * the same wrong answer forever. At a terminal, the user is asked until the answer is empty.
 */
const maxAskpassTries = 3;

/** Reads private key files, and remembers the last passphrase for the next file. */
export class KeyUnlocker {
  readonly #context: Context;
  #passphrase: Buffer = Buffer.alloc(0);

  constructor(context: Context) {
    this.#context = context;
  }

  /**
   * Reads a private key, and asks for passphrases until one is right.
   * @param file the bytes of the file
   * @param path its name in the prompt
   * @returns undefined when the user enters an empty passphrase
   * @throws {KeyFileError} for an invalid private key file, or after three wrong answers of askpass
   */
  async read(file: Buffer, path: string): Promise<LoadedKey | undefined> {
    const found =
      (await this.#try(file, Buffer.alloc(0))) ??
      (this.#passphrase.length > 0 ? await this.#try(file, this.#passphrase) : undefined);
    return found ?? this.#ask(file, path);
  }

  /** Overwrites the remembered passphrase. */
  forget(): void {
    this.#passphrase.fill(0);
    this.#passphrase = Buffer.alloc(0);
  }

  async #ask(file: Buffer, path: string): Promise<LoadedKey | undefined> {
    const confirmed = this.#context.options.confirm ? " (will confirm each use)" : "";
    const { prompter } = this.#context;
    let question = "Enter passphrase for";
    for (let tries = 0; ; tries++) {
      this.forget();
      if (tries === maxAskpassTries && prompter.usesAskpass) throw tooManyTries();
      this.#passphrase = await prompter.ask(`${question} ${path}${confirmed}: `);
      if (this.#passphrase.length === 0) return undefined;
      const found = await this.#try(file, this.#passphrase);
      if (found !== undefined) return found;
      question = "Bad passphrase, try again for";
    }
  }

  /** @returns undefined if the passphrase is wrong */
  async #try(file: Buffer, passphrase: Buffer): Promise<LoadedKey | undefined> {
    try {
      return await readPrivateKeyFile(file, passphrase, (seconds) => this.#announce(seconds));
    } catch (error) {
      if (error instanceof KeyFileError && error.needsPassphrase) return undefined;
      throw error;
    }
  }

  #announce(seconds: number): Spinner {
    const time =
      seconds < 90 ? `${Math.ceil(seconds)} seconds` : `${Math.ceil(seconds / 60)} minutes`;
    const text = `Deriving the key from the passphrase, which takes about ${time}…`;
    return new Spinner(this.#context.console, text);
  }
}

function tooManyTries(): KeyFileError {
  return new KeyFileError("incorrect passphrase supplied to decrypt private key", {
    explanation: `The askpass program gave a wrong passphrase ${maxAskpassTries} times.`,
  });
}
