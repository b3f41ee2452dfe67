/** Private key files and their passphrases: none, the last one that worked, or one that is asked for. */
import type { Context } from "./context.ts";
import { KeyFileError, type LoadedKey } from "./files/loaded-key.ts";
import { readPrivateKeyFile } from "./files/private-key-file.ts";
import { Spinner } from "./spinner.ts";

/**
 * How often an askpass program is asked for the passphrase of a file. Whether somebody types into it
 * cannot be told, and one that knows a single answer gives it again for ever. People at a terminal
 * are asked until they give an empty answer.
 */
const maxProgramTries = 3;

/** Reads private key files and remembers the last passphrase, which often fits the next file. */
export class KeyUnlocker {
  readonly #context: Context;
  #passphrase: Buffer = Buffer.alloc(0);

  constructor(context: Context) {
    this.#context = context;
  }

  /**
   * Reads a private key, and asks for passphrases until one fits.
   * @param file the bytes of the file
   * @param path its name in the prompt
   * @returns undefined when the user enters an empty passphrase
   * @throws {KeyFileError} for an invalid private key file, and after three wrong answers of askpass
   */
  async read(file: Buffer, path: string): Promise<LoadedKey | undefined> {
    const found =
      (await this.#try(file, Buffer.alloc(0))) ??
      (this.#passphrase.length > 0 ? await this.#try(file, this.#passphrase) : undefined);
    return found ?? this.#ask(file, path);
  }

  /** Overwrites the passphrase that is remembered. */
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
      if (tries === maxProgramTries && prompter.asksProgram) throw tooManyTries();
      this.#passphrase = await prompter.ask(`${question} ${path}${confirmed}: `);
      if (this.#passphrase.length === 0) return undefined;
      const found = await this.#try(file, this.#passphrase);
      if (found !== undefined) return found;
      question = "Bad passphrase, try again for";
    }
  }

  /** @returns undefined when it is not the right one */
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
    const text = `Making the key from the passphrase, which takes about ${time}…`;
    return new Spinner(this.#context.console, text);
  }
}

/** In OpenSSH's words, and who it was. */
function tooManyTries(): KeyFileError {
  return new KeyFileError("incorrect passphrase supplied to decrypt private key", {
    explanation: `The askpass program gave a wrong passphrase ${maxProgramTries} times.`,
  });
}
