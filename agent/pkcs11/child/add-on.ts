/** The add-on of `pkcs11js`, without what the package puts around it. */
import type * as pkcs11jsPackage from "pkcs11js";
import { tryAddOn } from "../../host/add-ons.ts";

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
  C_FindObjects(session: Handle, most: number): Handle[];
  /** @returns how many bytes of `output` the signature takes */
  C_Sign(session: Handle, input: Buffer, output: Buffer): number;
  /**
   * The same on another thread. Only the caller keeps the buffers in memory meanwhile.
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

/** `pkcs11js`, but for its class. */
export const pkcs11js: AddOn = load();

/** @throws when the package is not installed */
function load(): AddOn {
  const addOn = tryAddOn("pkcs11js/build/Release/pkcs11.node");
  if (isAddOn(addOn)) return addOn;
  const whole = tryAddOn("pkcs11js");
  if (!isAddOn(whole)) throw new Error("The package pkcs11js is not what it was.");
  // Its class only adds to the add-on's own, which it extends.
  const PKCS11: unknown = Object.getPrototypeOf(whole.PKCS11);
  const without = { ...whole, PKCS11 };
  if (isAddOn(without)) return without;
  throw new Error("The package pkcs11js is not what it was.");
}

function isAddOn(value: unknown): value is AddOn {
  if (typeof value !== "object" || value === null || !("PKCS11" in value)) return false;
  return typeof value.PKCS11 === "function";
}
