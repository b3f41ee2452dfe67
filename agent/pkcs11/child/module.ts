/** The PKCS#11 library, loaded and initialized in this process. */
import { checkLibraryFileSync, exchangedLibrary } from "../library-file.ts";
import { type Cryptoki, type Locking, returnValue } from "./cryptoki.ts";
import { loadLibrary } from "./function-list.ts";
import { notAModule, notStarted } from "./load-errors.ts";

export class Module {
  readonly path: string;
  readonly cryptoki: Cryptoki;
  /** The CKF_ flags with which C_OpenSession last succeeded, by the slot in hexadecimal. */
  readonly sessionFlags = new Map<string, number>();
  /** Incremented by each restart; older session and object handles are invalid. */
  generation = 1;
  /** Whether the library is not initialized: it has no tokens until a restart succeeds. */
  isDown = false;
  /** Whether it was finalized by `release`, and not used since. */
  isReleased = false;
  /** Called if the library cannot be initialized again after `release`. */
  onStuck: () => void = () => {};
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
    this.#restart ??= this.#alone(() => {
      this.generation++;
      if (!this.isReleased) this.finalize();
      this.isDown = true;
      try {
        initialize(this.cryptoki, this.path);
        this.isDown = false;
      } finally {
        if (this.isDown && this.isReleased) this.onStuck();
        this.isReleased = false;
      }
    });
    return this.#restart;
  }

  /**
   * C_Finalize, once no `use` is in progress; the next `restart` initializes the library again.
   * @throws the library's error
   */
  async release(): Promise<void> {
    while (this.#restart !== undefined) await this.#restart.catch(() => {});
    this.#restart = this.#alone(() => {
      this.generation++;
      this.isDown = true;
      this.isReleased = true;
      this.cryptoki.C_Finalize();
    });
    await this.#restart;
  }

  /** C_Finalize. Its errors are ignored: the process exits or initializes the library again. */
  finalize(): void {
    try {
      this.cryptoki.C_Finalize();
    } catch {
      // ignored
    }
  }

  /** Runs work once no `use` is in progress; later ones wait while it is in `#restart`. */
  #alone(work: () => void): Promise<void> {
    return this.#whenIdle()
      .then(work)
      .finally(() => {
        this.#restart = undefined;
      });
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
  try {
    return loadLibrary(path);
  } catch (error) {
    throw notAModule(path, error);
  }
}

/**
 * C_Initialize, in the first way that the library accepts. Signatures run on several threads if it
 * locks; some libraries take no flags, and some no arguments at all.
 * @throws {Failure} module-crashed
 */
function initialize(cryptoki: Cryptoki, path: string): void {
  const refusals: unknown[] = [];
  for (const locking of lockings) {
    try {
      cryptoki.C_Initialize(locking);
      return;
    } catch (error) {
      const value = returnValue(error);
      if (value === "CKR_CRYPTOKI_ALREADY_INITIALIZED") return;
      refusals.push(error);
      if (!argumentRefusals.has(value)) break;
    }
  }
  throw notStarted(path, refusals[0]);
}

const lockings: readonly Locking[] = ["os-locking", "no-locking", "no-arguments"];

/** CKR_ values of C_Initialize that blame its arguments. */
const argumentRefusals: ReadonlySet<string | undefined> = new Set([
  "CKR_ARGUMENTS_BAD",
  "CKR_CANT_LOCK",
  "CKR_NEED_TO_CREATE_THREADS",
  "CKR_FUNCTION_NOT_SUPPORTED",
]);
