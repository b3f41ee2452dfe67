/**
 * What the child process needs of C and `pkcs11js` does not give: a login with bytes in place of a
 * string, and protection of a process that is logged in to a card.
 */
import type { KoffiFunc } from "koffi";
import { loadKoffi } from "../../host/add-ons.ts";
import { pkcs11js } from "./add-on.ts";
import { type Cryptoki, type Handle, returnValueError } from "./cryptoki.ts";

/** C_Login's place in CK_FUNCTION_LIST (PKCS#11 v3.0, section 5.1): behind 18 other functions. */
const loginIndex = 18;
const prSetPdeathsig = 1;
const prSetDumpable = 4;
const sigkill = 9;

/** The stack of a call on another thread, in bytes: libraries keep whole messages on it. */
const stackSize = 1024 * 1024;
const koffi = loadKoffi();
koffi.config({ async_stack_size: stackSize });

/**
 * C_Login (PKCS#11 v3.0, section 5.6.8), on another thread: somebody may have to type at a PIN pad.
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

/**
 * Keeps this process to its agent: no core dump, no debugger of the same user, and no life without
 * the agent, even if a library never returns. On Linux; elsewhere it does nothing.
 */
export function protectProcess(): void {
  if (process.platform !== "linux") return;
  const prctl = koffi
    .load(null)
    .func("int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)");
  prctl(prSetDumpable, 0, 0, 0, 0);
  prctl(prSetPdeathsig, sigkill, 0, 0, 0);
}
