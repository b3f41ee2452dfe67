/** A library that is loaded in this process, and initialized. */
import { checkLibraryFileSync, exchangedLibrary } from "../library-file.ts";
import { type Cryptoki, type Handle, loadCryptoki, startCryptoki } from "./cryptoki.ts";
import { type Login, nativeLogin } from "./native.ts";

/** The library of this process. */
export class Module {
  readonly path: string;
  readonly cryptoki: Cryptoki;
  /** Sessions and objects of an earlier generation mean nothing any more. */
  generation = 1;
  /** Sessions that were opened before anything was asked of their tokens. */
  readonly earlySessions: Handle[] = [];
  /** Whether it did not start again: it knows of no token then. */
  isDown = false;
  readonly #nativeLogin: Login;
  #uses = 0;
  #whenQuiet: (() => void) | undefined;
  #restart: Promise<void> | undefined;

  /**
   * Loads and initializes the library.
   * @throws {Failure} no-such-file, provider-not-allowed, not-a-pkcs11-module, module-crashed
   */
  constructor(path: string) {
    this.path = path;
    const file = checkLibraryFileSync(path);
    this.cryptoki = loadCryptoki(path);
    if (checkLibraryFileSync(path) !== file) throw exchangedLibrary(path);
    startCryptoki(this.cryptoki, path);
    this.#nativeLogin = nativeLogin(path, this.cryptoki);
  }

  /** Whether a restart would keep nobody from anything. */
  get isQuiet(): boolean {
    return this.#uses === 0;
  }

  /** C_Login, which may take as long as a person takes to type a PIN at the token's own pad. */
  login: Login = (session, user, pin) => this.#nativeLogin(session, user, pin);

  /**
   * Does something for which the sessions and handles that it has must stay what they are: a restart
   * waits for its end, and it waits for the end of a restart. It must not itself start the library
   * again, or wait for somebody who does.
   */
  async use<Result>(work: () => Result | Promise<Result>): Promise<Result> {
    while (this.#restart !== undefined) await this.#restart.catch(() => {});
    this.#uses++;
    try {
      return await work();
    } finally {
      this.#uses--;
      if (this.#uses === 0) this.#whenQuiet?.();
    }
  }

  /**
   * C_Finalize and C_Initialize, as soon as nobody uses the library: what helps one that has lost
   * the service by which it reaches its cards.
   * @throws {Failure} module-crashed, when it does not start again
   */
  restart(): Promise<void> {
    this.#restart ??= this.#quiet()
      .then(() => {
        this.generation++;
        this.finalize();
        this.isDown = true;
        startCryptoki(this.cryptoki, this.path);
        this.isDown = false;
      })
      .finally(() => {
        this.#restart = undefined;
      });
    return this.#restart;
  }

  /** C_Finalize. What it says does not matter: nothing of the library is used afterwards. */
  finalize(): void {
    try {
      this.cryptoki.C_Finalize();
    } catch {
      // the process ends, or the library is started again
    }
  }

  #quiet(): Promise<void> {
    if (this.#uses === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenQuiet = () => {
        this.#whenQuiet = undefined;
        resolve();
      };
    });
  }
}
