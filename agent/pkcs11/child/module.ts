/** The PKCS#11 library, loaded and initialized in this process. */
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

export class Module {
  readonly path: string;
  readonly cryptoki: Cryptoki;
  /** C_Login, which may last until the user has typed the PIN on the token's PIN pad. */
  readonly login: Login;
  /** Incremented by each restart; older session and object handles are invalid. */
  generation = 1;
  /** Whether the last restart failed: the library has no tokens until one succeeds. */
  isDown = false;
  #uses = 0;
  #onIdle: (() => void) | undefined;
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

  /** Whether no `use` is in progress, so that a restart interrupts nothing. */
  get isQuiet(): boolean {
    return this.#uses === 0;
  }

  /**
   * Runs work whose session and object handles must stay valid: it waits for a restart to end, and
   * a restart waits for it. The work must not call or await `restart`: that would deadlock.
   */
  async use<Result>(work: () => Result | Promise<Result>): Promise<Result> {
    while (this.#restart !== undefined) await this.#restart.catch(() => {});
    this.#uses++;
    try {
      return await work();
    } finally {
      this.#uses--;
      if (this.#uses === 0) this.#onIdle?.();
    }
  }

  /**
   * C_Finalize and C_Initialize, once no `use` is in progress. This helps a library that has lost
   * its connection to pcscd or a similar service.
   * @throws {Failure} module-crashed, if C_Initialize fails
   */
  restart(): Promise<void> {
    this.#restart ??= this.#whenIdle()
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

  /** C_Finalize. Its errors are ignored: the process exits or initializes the library again. */
  finalize(): void {
    try {
      this.cryptoki.C_Finalize();
    } catch {
      // ignored
    }
  }

  #whenIdle(): Promise<void> {
    if (this.#uses === 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#onIdle = () => {
        this.#onIdle = undefined;
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
 * C_Initialize with CKF_OS_LOCKING_OK, because signatures run on several threads.
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
