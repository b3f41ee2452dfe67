/** The PKCS#11 functions and constants, and CKR_ values by name. */
import pkcs11jsPackage from "pkcs11js";
import { Failure } from "../../../protocol/failure.ts";

type Numbers<T> = { readonly [Name in keyof T as T[Name] extends number ? Name : never]: number };

/** A slot, session or object: a CK_ULONG in native byte order. */
export type Handle = Buffer;

/** Reads a CK_ULONG, in native byte order; undefined for another length. */
export function readUlong(value: Buffer): bigint | undefined {
  const bytes = Uint8Array.from(value).buffer;
  if (bytes.byteLength === 8) return new BigUint64Array(bytes)[0];
  return bytes.byteLength === 4 ? BigInt(new Uint32Array(bytes)[0] ?? 0) : undefined;
}

/** How C_Initialize is told about threads (PKCS#11 v3.0, section 5.4.1). */
export type Locking =
  /** CKF_OS_LOCKING_OK: calls on several threads. */
  | "os-locking"
  /** CK_C_INITIALIZE_ARGS without flags or functions: calls on one thread. */
  | "no-locking"
  /** NULL, which means the same. */
  | "no-arguments";

/** The type of an attribute, a CKA_ value. */
export interface AttributeType {
  readonly type: number;
}

/** An attribute to search for; a number is a CK_ULONG. */
export interface Attribute extends AttributeType {
  readonly value: number | boolean | Buffer;
}

/** A mechanism, a CKM_ value, and its parameter. */
export interface Mechanism {
  readonly mechanism: number;
  readonly parameter?: Buffer;
}

/**
 * The PKCS#11 functions that cardagent calls. They throw errors whose message is a CKR_ name, a
 * colon and its number; CKR_FUNCTION_NOT_SUPPORTED for a function that the library lacks.
 */
export interface Cryptoki {
  C_Initialize(locking: Locking): void;
  C_Finalize(): void;
  C_GetInfo(): {
    manufacturerID: string;
    libraryDescription: string;
    libraryVersion: { major: number; minor: number };
  };
  C_GetSlotList(tokenPresent: boolean): Handle[];
  C_GetSlotInfo(slot: Handle): { slotDescription: string; manufacturerID: string; flags: number };
  C_GetTokenInfo(slot: Handle): {
    label: string;
    manufacturerID: string;
    model: string;
    serialNumber: string;
    flags: number;
    maxPinLen: number;
    minPinLen: number;
  };
  /** @param flags CKF_SERIAL_SESSION, perhaps with CKF_RW_SESSION */
  C_OpenSession(slot: Handle, flags: number): Handle;
  C_CloseSession(session: Handle): void;
  C_GetSessionInfo(session: Handle): { state: number };
  /**
   * C_Login, on another thread: the user may have to type on a PIN pad. The library gets the PIN's
   * own buffer, so overwriting that buffer leaves no copy.
   * @param user a CKU_ value
   * @param pin UTF-8, unchanged until the promise settles; null for a token with its own PIN pad
   */
  C_Login(session: Handle, user: number, pin: Buffer | null): Promise<void>;
  C_Logout(session: Handle): void;
  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void;
  /** @returns at most `max` objects */
  C_FindObjects(session: Handle, max: number): Handle[];
  C_FindObjectsFinal(session: Handle): void;
  /** @returns the values in order; undefined for CK_UNAVAILABLE_INFORMATION */
  C_GetAttributeValue(
    session: Handle,
    object: Handle,
    template: readonly AttributeType[],
  ): { readonly type: number; readonly value: Buffer | undefined }[];
  C_SignInit(session: Handle, mechanism: Mechanism, key: Handle): void;
  /**
   * C_Sign, on another thread.
   * @param output gets the signature
   * @returns the signature's length, as the library gives it
   */
  C_Sign(session: Handle, input: Buffer, output: Buffer): Promise<number>;
  C_SignUpdate(session: Handle, input: Buffer): void;
  /** C_SignFinal, in the same way as C_Sign. */
  C_SignFinal(session: Handle, output: Buffer): Promise<number>;
}

/** The PKCS#11 constants by name, from `pkcs11js`; the built child has them without the package. */
export const pkcs11js: Numbers<typeof pkcs11jsPackage> = pkcs11jsPackage;

/** CKM_EDDSA and CKK_EC_EDWARDS of PKCS#11 v3.0, which `pkcs11js` lacks. */
export const eddsaMechanism = 0x1057;
export const edwardsKeyType = 0x40;

/** An error for a CKR_ value. */
export function returnValueError(value: number | bigint): Error {
  const known = Object.entries(pkcs11js).find(
    ([name, number]) => name.startsWith("CKR_") && number === value,
  );
  return new Error(`${known?.[0] ?? "CKR_VENDOR_DEFINED"}:${value}`);
}

/** CKR_USER_NOT_LOGGED_IN, as an error of the library. */
export function userNotLoggedIn(): Error {
  return returnValueError(pkcs11js.CKR_USER_NOT_LOGGED_IN);
}

/** CKR_SESSION_HANDLE_INVALID, as an error of the library. */
export function sessionLost(): Error {
  return returnValueError(pkcs11js.CKR_SESSION_HANDLE_INVALID);
}

/** The name of an error's CKR_ value; undefined for other errors. */
export function returnValue(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  return /^CKR_\w+/.exec(error.message)?.[0];
}

/**
 * A failure for a CKR_ value without a better explanation. Its code is module-crashed: the library
 * is at fault, and the advice is the same as after a crash. A `Failure` is returned unchanged.
 * @param what the beginning of the sentence
 */
export function libraryFailed(
  what: string,
  error: unknown,
  hint = "Try again; if it happens again, load the token again with: ssh-add -s LIB",
): Failure {
  if (error instanceof Failure) return error;
  const isMissing = returnValue(error) === "CKR_FUNCTION_NOT_SUPPORTED";
  const advice = isMissing ? "Look for a newer version of the library." : hint;
  return new Failure("module-crashed", `${what} (${valueText(error)}).`, advice);
}

/** The name of an error's CKR_ value, or the number of a vendor-defined one. */
export function valueText(error: unknown): string {
  const value = returnValue(error);
  if (value !== "CKR_VENDOR_DEFINED" || !(error instanceof Error)) {
    return value ?? "an unknown error";
  }
  const code = /:(\d+)$/.exec(error.message)?.[1] ?? 0;
  return `error 0x${BigInt(code).toString(16)}`;
}
