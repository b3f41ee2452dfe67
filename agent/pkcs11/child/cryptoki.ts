/** PKCS#11 as it is called here: typed functions, C_Login with bytes, and what a CKR_ value is called. */
import type { KoffiFunc } from "koffi";
import type * as pkcs11jsPackage from "pkcs11js";
import { loadKoffi, tryAddOn } from "../../../openssh/add-ons.ts";
import { Failure } from "../../../protocol/failure.ts";

type Wrapped = InstanceType<typeof pkcs11jsPackage.PKCS11>;

/** A slot, session or object: a CK_ULONG in the machine's own order of bytes. */
export type Handle = Buffer;

/** The functions of which the package and its add-on make the same. */
type Same =
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
  | "load";

/**
 * The functions of PKCS#11 that are used here. What they throw begins with the name of a CKR_ value,
 * and holds its number after a colon.
 */
export interface Cryptoki extends Pick<Wrapped, Same> {
  C_FindObjects(session: Handle, max: number): Handle[];
  /**
   * C_Sign on another thread. Only the caller keeps the buffers in memory meanwhile.
   * @param done gets an error or null, and how many bytes of `output` the signature takes
   */
  C_SignCallback(
    session: Handle,
    input: Buffer,
    output: Buffer,
    done: (error: Error | null, length: number) => void,
  ): void;
}

/** The add-on: constants by their names in PKCS#11, and a class for libraries. */
type AddOn = Omit<typeof pkcs11jsPackage, "PKCS11"> & { readonly PKCS11: new () => Cryptoki };

/** The add-on of `pkcs11js`, without what the package puts around it. */
export const pkcs11js: AddOn = loadAddOn();

/** Mechanisms and key types of PKCS#11 v3.0 that `pkcs11js` has no names for. */
export const eddsaMechanism = 0x1057;
export const edwardsKeyType = 0x40;

/** @throws when the package is not installed */
function loadAddOn(): AddOn {
  const addOn = tryAddOn("pkcs11js/build/Release/pkcs11.node");
  if (isAddOn(addOn)) return addOn;
  const whole = tryAddOn("pkcs11js");
  if (!isAddOn(whole)) throw new Error("The package pkcs11js cannot be loaded.");
  // Its class only adds to the add-on's own, which it extends.
  const PKCS11: unknown = Object.getPrototypeOf(whole.PKCS11);
  const without = { ...whole, PKCS11 };
  if (isAddOn(without)) return without;
  throw new Error("The package pkcs11js has no class for libraries.");
}

function isAddOn(value: unknown): value is AddOn {
  if (typeof value !== "object" || value === null || !("PKCS11" in value)) return false;
  return typeof value.PKCS11 === "function";
}

const koffi = loadKoffi();
/** The stack of a call on another thread, in bytes: libraries keep whole messages on it. */
koffi.config({ async_stack_size: 1024 * 1024 });

/** C_Login's place in CK_FUNCTION_LIST (PKCS#11 v3.0, section 5.1): behind 18 other functions. */
const loginIndex = 18;

/**
 * C_Login (PKCS#11 v3.0, section 5.6.8), on another thread: a user may have to type at a PIN pad.
 * @param user a CKU_ value
 * @param pin UTF-8, or null for a token that has its own PIN pad; it must not change meanwhile
 * @throws an error with a CKR_ value, as `pkcs11js` does
 */
export type Login = (session: Handle, user: number, pin: Buffer | null) => Promise<void>;

/**
 * C_Login of a library that is loaded already. The library gets the PIN where it is, so that nothing
 * of it is left once that is overwritten.
 *
 * Those of p11-kit are an exception: each call of C_GetFunctionList gives another instance of them,
 * and the one that is had here is not initialized. Nothing reaches a token then, and the login goes
 * through `cryptoki`, as a string: copies of the PIN are left until this process ends.
 * @param path the library's path, as it was loaded
 * @param cryptoki the library, as it was loaded
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

/** An error for a CKR_ value, as `pkcs11js` throws them. */
function returnValueError(value: number): Error {
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
 * A failure for an error that tells a user nothing but its name. The code is module-crashed: like a
 * crash it is the library's own fault, and the advice is the same. A failure stays what it is.
 * @param what the beginning of a sentence
 */
export function libraryFailed(
  what: string,
  error: unknown,
  hint = "Try again; if it happens again, load the token again with: ssh-add -s LIB",
): Failure {
  if (error instanceof Failure) return error;
  return new Failure("module-crashed", `${what} (${valueText(error)}).`, hint);
}

/** The CKR_ value of an error by its name, or by its number, for those of the library's vendor. */
function valueText(error: unknown): string {
  const value = returnValue(error);
  if (value !== "CKR_VENDOR_DEFINED" || !(error instanceof Error)) {
    return value ?? "an unknown error";
  }
  const code = "code" in error ? error.code : /:(\d+)$/.exec(error.message)?.[1];
  return `error 0x${Number(code).toString(16)}`;
}
