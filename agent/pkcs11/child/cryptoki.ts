/** The PKCS#11 binding: typed functions, C_Login with a PIN in bytes, and CKR_ values by name. */
import type { KoffiFunc } from "koffi";
import type * as pkcs11jsPackage from "pkcs11js";
import { loadKoffi, tryAddOn } from "../../../openssh/add-ons.ts";
import { Failure } from "../../../protocol/failure.ts";

type PackageClass = InstanceType<typeof pkcs11jsPackage.PKCS11>;

/** A slot, session or object: a CK_ULONG in native byte order. */
export type Handle = Buffer;

/** Reads a CK_ULONG, in native byte order; undefined for another length. */
export function readUlong(value: Buffer): bigint | undefined {
  const bytes = Uint8Array.from(value).buffer;
  if (bytes.byteLength === 8) return new BigUint64Array(bytes)[0];
  return bytes.byteLength === 4 ? BigInt(new Uint32Array(bytes)[0] ?? 0) : undefined;
}

/** The functions with the same signature in the package and in its add-on. */
type SharedFunction =
  | "C_CloseSession"
  | "C_Finalize"
  | "C_FindObjectsFinal"
  | "C_FindObjectsInit"
  | "C_GetAttributeValue"
  | "C_GetInfo"
  | "C_GetSessionInfo"
  | "C_GetSlotInfo"
  | "C_GetSlotList"
  | "C_GetTokenInfo"
  | "C_Initialize"
  | "C_Login"
  | "C_Logout"
  | "C_OpenSession"
  | "C_SignInit"
  | "C_SignUpdate"
  | "load";

/**
 * The PKCS#11 functions that cardagent calls. They throw errors whose message is a CKR_ name, a
 * colon and its number.
 */
export interface Cryptoki extends Pick<PackageClass, SharedFunction> {
  C_FindObjects(session: Handle, max: number): Handle[];
  /**
   * C_Sign on another thread. The caller must keep references to both buffers until `done`.
   * @param done gets an error or null, and the signature's length in `output`
   */
  C_SignCallback(
    session: Handle,
    input: Buffer,
    output: Buffer,
    done: (error: Error | null, length: number) => void,
  ): void;
  /** C_SignFinal, in the same way. */
  C_SignFinalCallback(
    session: Handle,
    output: Buffer,
    done: (error: Error | null, length: number) => void,
  ): void;
}

/** The add-on: the PKCS#11 constants by name, and a class that wraps a library. */
type AddOn = Omit<typeof pkcs11jsPackage, "PKCS11"> & { readonly PKCS11: new () => Cryptoki };

/** The native add-on of `pkcs11js`, without the package's JavaScript. */
export const pkcs11js: AddOn = loadAddOn();

/** CKM_EDDSA and CKK_EC_EDWARDS of PKCS#11 v3.0, which `pkcs11js` lacks. */
export const eddsaMechanism = 0x1057;
export const edwardsKeyType = 0x40;

/** @throws when the package is not installed */
function loadAddOn(): AddOn {
  const addOn = tryAddOn("pkcs11js/build/Release/pkcs11.node");
  if (isAddOn(addOn)) return addOn;
  const packageExports = tryAddOn("pkcs11js");
  if (!isAddOn(packageExports)) throw new Error("The package pkcs11js cannot be loaded.");
  // The package's class extends the add-on's.
  const PKCS11: unknown = Object.getPrototypeOf(packageExports.PKCS11);
  const addOnExports = { ...packageExports, PKCS11 };
  if (isAddOn(addOnExports)) return addOnExports;
  throw new Error("The package pkcs11js has no class for libraries.");
}

function isAddOn(value: unknown): value is AddOn {
  if (typeof value !== "object" || value === null || !("PKCS11" in value)) return false;
  return typeof value.PKCS11 === "function";
}

const koffi = loadKoffi();

/** CK_EDDSA_PARAMS (PKCS#11 v3.0, section 2.3.15): no prehash and no context. */
export const emptyEddsaParameters = Buffer.alloc(3 * koffi.sizeof("void *"));

/** The stack size of asynchronous calls, in bytes: libraries keep whole messages on the stack. */
koffi.config({ async_stack_size: 1024 * 1024 });

/** C_Login's index in CK_FUNCTION_LIST (PKCS#11 v3.0, section 5.1). */
const loginIndex = 18;

/**
 * C_Login (PKCS#11 v3.0, section 5.6.8), on another thread: the user may have to type on a PIN pad.
 * @param user a CKU_ value
 * @param pin UTF-8, unchanged until the promise settles; null for a token with its own PIN pad
 * @throws an error with a CKR_ value, as `pkcs11js` does
 */
export type Login = (session: Handle, user: number, pin: Buffer | null) => Promise<void>;

/**
 * C_Login of a loaded library. The library gets the PIN's own buffer, so overwriting that buffer
 * leaves no copy.
 *
 * p11-kit is an exception: each C_GetFunctionList returns another instance, and the one found here
 * is not initialized. The call then fails before it reaches a token, and the login goes through
 * `cryptoki` as a string, of which copies remain until this process exits.
 * @param path the path from which the library was loaded
 * @param cryptoki the loaded library
 */
export function nativeLogin(path: string, cryptoki: Cryptoki): Login {
  const getFunctionList = koffi
    .load(path)
    .func("unsigned long C_GetFunctionList(_Out_ void **list)");
  const list: unknown[] = [null];
  getFunctionList(list);
  const offset = (1 + loginIndex) * koffi.sizeof("void *");
  const address: unknown = koffi.decode(list[0], offset, "void *");
  const number = koffi.types.ulong;
  const prototype = koffi.proto(number, [number, number, "const uint8_t *", number]);
  if (address === null)
    return () => Promise.reject(returnValueError(pkcs11js.CKR_FUNCTION_NOT_SUPPORTED));
  const login: KoffiFunc<(...values: unknown[]) => unknown> = koffi.decode(address, prototype);
  return async (session, user, pin) => {
    const handle: unknown = koffi.decode(session, number);
    const value = await new Promise((resolve, reject) => {
      login.async(handle, user, pin, pin?.length ?? 0, (error: unknown, result: unknown) => {
        if (error) reject(error);
        else resolve(result);
      });
    });
    if (Number(value) === pkcs11js.CKR_CRYPTOKI_NOT_INITIALIZED) {
      cryptoki.C_Login(session, user, pin?.toString("utf8") ?? "");
    } else if (Number(value) !== 0) throw returnValueError(Number(value));
  };
}

/** An error for a CKR_ value, in the form that `pkcs11js` throws. */
function returnValueError(value: number): Error {
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
  return new Failure("module-crashed", `${what} (${valueText(error)}).`, hint);
}

/** The name of an error's CKR_ value, or the number of a vendor-defined one. */
export function valueText(error: unknown): string {
  const value = returnValue(error);
  if (value !== "CKR_VENDOR_DEFINED" || !(error instanceof Error)) {
    return value ?? "an unknown error";
  }
  const code = "code" in error ? error.code : /:(\d+)$/.exec(error.message)?.[1];
  return `error 0x${Number(code).toString(16)}`;
}
