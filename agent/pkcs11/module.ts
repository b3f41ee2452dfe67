/** A library that is loaded in this process, and initialized. */
import { type Cryptoki, loadCryptoki, startCryptoki } from "./cryptoki.ts";
import { type Login, nativeLogin } from "./native.ts";

/** The library of this process. */
export class Module {
  readonly path: string;
  readonly cryptoki: Cryptoki;
  /** Sessions and objects of an earlier generation mean nothing any more. */
  generation = 1;
  /** Whether it did not start again: it knows of no token then. */
  isDown = false;
  readonly #nativeLogin: Login;
  #calls = 0;
  #whenQuiet: (() => void) | undefined;
  #restart: Promise<void> | undefined;

  /** Loads and initializes the library. @throws {Failure} not-a-pkcs11-module, module-crashed */
  constructor(path: string) {
    this.path = path;
    this.cryptoki = loadCryptoki(path);
    startCryptoki(this.cryptoki, path);
    this.#nativeLogin = nativeLogin(path, this.cryptoki);
  }

  /** The restart that is under way; nothing may be asked of the library before it has ended. */
  get restarting(): Promise<void> | undefined {
    return this.#restart;
  }

  /** C_Login, which may take as long as a person takes to type a PIN at the token's own pad. */
  login: Login = (session, user, pin) =>
    this.elsewhere(() => this.#nativeLogin(session, user, pin));

  /** Makes a call that runs on another thread. */
  async elsewhere<Result>(call: () => Promise<Result>): Promise<Result> {
    this.#calls++;
    try {
      return await call();
    } finally {
      this.#calls--;
      if (this.#calls === 0) this.#whenQuiet?.();
    }
  }

  /**
   * C_Finalize and C_Initialize, as soon as no call is under way on another thread: what helps a
   * library that has lost the service by which it reaches its cards.
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
    if (this.#calls === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#whenQuiet = () => {
        this.#whenQuiet = undefined;
        resolve();
      };
    });
  }
}
