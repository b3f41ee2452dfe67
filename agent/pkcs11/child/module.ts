/** A library that is loaded in this process, and initialized. */
import { Failure } from "../../../protocol/failure.ts";
import { checkLibraryFileSync, exchangedLibrary } from "../library-file.ts";
import {
  type Cryptoki,
  type Login,
  libraryFailed,
  nativeLogin,
  pkcs11js,
  returnValue,
} from "./cryptoki.ts";

/** The library of this process. */
export class Module {
  readonly path: string;
  readonly cryptoki: Cryptoki;
  /** C_Login, which may take as long as a user takes to type a PIN at the token's own pad. */
  readonly login: Login;
  /** Sessions and objects of an earlier generation mean nothing any more. */
  generation = 1;
  /** Whether it did not start again: it knows of no token then. */
  isDown = false;
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
    this.cryptoki = load(path);
    if (checkLibraryFileSync(path) !== file) throw exchangedLibrary(path);
    initialize(this.cryptoki, path);
    this.login = nativeLogin(path, this.cryptoki);
  }

  /** Whether a restart would keep nobody from anything. */
  get isQuiet(): boolean {
    return this.#uses === 0;
  }

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
        initialize(this.cryptoki, this.path);
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

/** @throws {Failure} not-a-pkcs11-module */
function load(path: string): Cryptoki {
  const cryptoki = new pkcs11js.PKCS11();
  try {
    cryptoki.load(path);
  } catch (error) {
    throw notAModule(path, error);
  }
  return cryptoki;
}

/**
 * C_Initialize, with locks of the operating system, because signatures run on several threads.
 * @throws {Failure} module-crashed
 */
function initialize(cryptoki: Cryptoki, path: string): void {
  try {
    cryptoki.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
  } catch (error) {
    if (returnValue(error) === "CKR_CRYPTOKI_ALREADY_INITIALIZED") return;
    throw libraryFailed(`The library ${path} could not start`, error);
  }
}

function notAModule(path: string, error: unknown): Failure {
  const text = error instanceof Error ? error.message : "";
  const code = "not-a-pkcs11-module";
  if (returnValue(error) !== undefined) {
    return new Failure(code, `The library ${path} gives no PKCS#11 functions (${text}).`);
  }
  if (/C_GetFunctionList/.test(text)) {
    return new Failure(code, `The library ${path} has no C_GetFunctionList.`);
  }
  const reason = text.replace(`${path}: `, "").replace(/\.?$/, ".");
  return new Failure(code, `${path} cannot be loaded as a library: ${reason}`);
}
