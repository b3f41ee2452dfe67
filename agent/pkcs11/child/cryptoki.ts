/** The PKCS#11 library as the child process sees it: loading it, and what its errors are called. */
import { Failure } from "../../../protocol/failure.ts";
import { type Cryptoki, type Handle, pkcs11js } from "./add-on.ts";

export type { Cryptoki, Handle };

/** Loads a library. @param path where it is @throws {Failure} not-a-pkcs11-module */
export function loadCryptoki(path: string): Cryptoki {
  const cryptoki = new pkcs11js.PKCS11();
  try {
    cryptoki.load(path);
  } catch (error) {
    throw notAModule(path, error);
  }
  return cryptoki;
}

/**
 * Initializes a library, with locks of the operating system, because signatures run on several
 * threads.
 * @throws {Failure} module-crashed
 */
export function startCryptoki(cryptoki: Cryptoki, path: string): void {
  try {
    cryptoki.C_Initialize({ flags: pkcs11js.CKF_OS_LOCKING_OK });
  } catch (error) {
    if (returnValue(error) === "CKR_CRYPTOKI_ALREADY_INITIALIZED") return;
    throw libraryFailed(`The library ${path} could not start`, error);
  }
}

/** Mechanisms and key types of PKCS#11 v3.0 that `pkcs11js` has no names for. */
export const eddsaMechanism = 0x1057;
export const edwardsKeyType = 0x40;

/** An error for a CKR_ value, as `pkcs11js` throws them. */
export function returnValueError(value: number): Error {
  const known = Object.entries(pkcs11js).find(
    ([name, number]) => name.startsWith("CKR_") && number === value,
  );
  return new Error(`${known?.[0] ?? "CKR_VENDOR_DEFINED"}:${value}`);
}

/** The error that a library gives for want of a login. */
export function userNotLoggedIn(): Error {
  return returnValueError(pkcs11js.CKR_USER_NOT_LOGGED_IN);
}

/** The error that a library gives for a session that it does not know any more. */
export function sessionLost(): Error {
  return returnValueError(pkcs11js.CKR_SESSION_HANDLE_INVALID);
}

/** The name of the CKR_ value that a call of the library ended with, or undefined. */
export function returnValue(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return /^CKR_\w+/.exec(error.message)?.[0];
}

/**
 * A failure for an error that says nothing to a person but its name. The code is module-crashed:
 * like a crash it is the library's own fault, and the advice is the same. A failure stays what it is.
 * @param what the beginning of a sentence
 */
export function libraryFailed(what: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const hint = "Try again; if it happens again, load the card again with: ssh-add -s LIB";
  return new Failure("module-crashed", `${what} (${valueText(error)}).`, hint);
}

/** The CKR_ value of an error by its name, or by its number, for those of the library's maker. */
function valueText(error: unknown): string {
  const value = returnValue(error);
  if (value !== "CKR_VENDOR_DEFINED" || !(error instanceof Error)) {
    return value ?? "an unknown error";
  }
  const code = "code" in error ? error.code : /:(\d+)$/.exec(error.message)?.[1];
  return `error 0x${Number(code).toString(16)}`;
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
