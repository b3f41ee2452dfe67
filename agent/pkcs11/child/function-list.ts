/** Calls the functions of a PKCS#11 library, through its CK_FUNCTION_LIST (PKCS#11 v3.0, section 5.1). */
import type { KoffiFunc } from "koffi";
import { loadKoffi } from "../../../openssh/add-ons.ts";
import {
  type Attribute,
  type AttributeType,
  type Cryptoki,
  type Handle,
  type Locking,
  type Mechanism,
  pkcs11js,
  returnValueError,
} from "./cryptoki.ts";
import {
  filledTemplate,
  readFlags,
  readText,
  splitList,
  Template,
  toBytes,
  ulongAt,
  wordLength as word,
  writeUlong,
} from "./structures.ts";

const koffi = loadKoffi();
/**
 * Stack sizes, in bytes, of calls on this thread and on others: as those of a C program, because
 * libraries keep whole messages on the stack.
 */
koffi.config({ sync_stack_size: 8 * 1024 * 1024, async_stack_size: 1024 * 1024 });

const ulong = koffi.types.ulong;
const pointer = "void *";
const byte = koffi.types.uint8_t;

/** The functions' places in CK_FUNCTION_LIST, behind its version, and their parameters. */
const functions = {
  C_Initialize: { place: 0, parameters: [pointer] },
  C_Finalize: { place: 1, parameters: [pointer] },
  C_GetInfo: { place: 2, parameters: [pointer] },
  C_GetSlotList: { place: 4, parameters: [byte, pointer, pointer] },
  C_GetSlotInfo: { place: 5, parameters: [ulong, pointer] },
  C_GetTokenInfo: { place: 6, parameters: [ulong, pointer] },
  C_OpenSession: { place: 12, parameters: [ulong, ulong, pointer, pointer, pointer] },
  C_CloseSession: { place: 13, parameters: [ulong] },
  C_GetSessionInfo: { place: 15, parameters: [ulong, pointer] },
  C_Login: { place: 18, parameters: [ulong, ulong, pointer, ulong] },
  C_Logout: { place: 19, parameters: [ulong] },
  C_GetAttributeValue: { place: 24, parameters: [ulong, ulong, pointer, ulong] },
  C_FindObjectsInit: { place: 26, parameters: [ulong, pointer, ulong] },
  C_FindObjects: { place: 27, parameters: [ulong, pointer, ulong, pointer] },
  C_FindObjectsFinal: { place: 28, parameters: [ulong] },
  C_SignInit: { place: 42, parameters: [ulong, pointer, ulong] },
  C_Sign: { place: 43, parameters: [ulong, pointer, ulong, pointer, pointer] },
  C_SignUpdate: { place: 44, parameters: [ulong, pointer, ulong] },
  C_SignFinal: { place: 45, parameters: [ulong, pointer, pointer] },
} as const;

type FunctionName = keyof typeof functions;
type NativeFunction = KoffiFunc<(...values: Argument[]) => unknown>;
type Argument = number | bigint | Buffer | null;

/**
 * Loads a library.
 * @throws an error with a CKR_ value, if it gives no functions; else with the loader's words
 */
export function loadLibrary(path: string): Cryptoki {
  const library = koffi.load(path, { lazy: true });
  const getFunctionList = library.func("unsigned long C_GetFunctionList(_Out_ void **list)");
  const list: unknown[] = [null];
  throwUnlessOk(getFunctionList(list));
  if (list[0] === null) throw returnValueError(pkcs11js.CKR_FUNCTION_NOT_SUPPORTED);
  return new FunctionList(library, list[0]);
}

class FunctionList implements Cryptoki {
  /** Koffi unloads a library to which nothing refers. */
  readonly library: unknown;
  readonly #list: unknown;
  readonly #functions = new Map<FunctionName, NativeFunction>();
  /** Whether the library may be called on several threads at once. */
  #locks = true;

  /** @param list the CK_FUNCTION_LIST's address */
  constructor(library: unknown, list: unknown) {
    this.library = library;
    this.#list = list;
  }

  C_Initialize(locking: Locking): void {
    const args = Buffer.alloc(6 * word); // CK_C_INITIALIZE_ARGS, with the flags after four functions
    if (locking === "os-locking") writeUlong(args, 4, pkcs11js.CKF_OS_LOCKING_OK);
    this.#call("C_Initialize", locking === "no-arguments" ? null : args);
    this.#locks = locking === "os-locking";
  }

  C_Finalize(): void {
    this.#call("C_Finalize", null);
  }

  C_GetInfo() {
    const info = Buffer.alloc(2 * 64 + 2 * word);
    this.#call("C_GetInfo", info);
    const description = 32 + 2 * word; // behind the flags, which are aligned
    return {
      manufacturerID: readText(info, 2, 32),
      libraryDescription: readText(info, description, 32),
      libraryVersion: {
        major: info.readUInt8(description + 32),
        minor: info.readUInt8(description + 33),
      },
    };
  }

  C_GetSlotList(tokenPresent: boolean): Handle[] {
    const count = Buffer.alloc(word);
    this.#call("C_GetSlotList", Number(tokenPresent), null, count);
    const list = Buffer.alloc(bounded(Number(ulongAt(count)) * word));
    if (list.length === 0) return [];
    this.#call("C_GetSlotList", Number(tokenPresent), list, count);
    return splitList(list, count);
  }

  C_GetSlotInfo(slot: Handle) {
    const info = Buffer.alloc(128);
    this.#call("C_GetSlotInfo", ulongAt(slot), info);
    return {
      slotDescription: readText(info, 0, 64),
      manufacturerID: readText(info, 64, 32),
      flags: readFlags(info, 96 / word),
    };
  }

  C_GetTokenInfo(slot: Handle) {
    const info = Buffer.alloc(256);
    this.#call("C_GetTokenInfo", ulongAt(slot), info);
    const numbers = info.subarray(96);
    return {
      label: readText(info, 0, 32),
      manufacturerID: readText(info, 32, 32),
      model: readText(info, 64, 16),
      serialNumber: readText(info, 80, 16),
      flags: readFlags(numbers, 0),
      maxPinLen: Number(ulongAt(numbers, 5)),
      minPinLen: Number(ulongAt(numbers, 6)),
    };
  }

  C_OpenSession(slot: Handle, flags: number): Handle {
    const session = Buffer.alloc(word);
    this.#call("C_OpenSession", ulongAt(slot), flags, null, null, session);
    return session;
  }

  C_CloseSession(session: Handle): void {
    this.#call("C_CloseSession", ulongAt(session));
  }

  C_GetSessionInfo(session: Handle) {
    const info = Buffer.alloc(4 * word);
    this.#call("C_GetSessionInfo", ulongAt(session), info);
    return { state: Number(ulongAt(info, 1)) };
  }

  C_Login(session: Handle, user: number, pin: Buffer | null): Promise<void> {
    return this.#callAside("C_Login", ulongAt(session), user, pin, pin?.length ?? 0);
  }

  C_Logout(session: Handle): void {
    this.#call("C_Logout", ulongAt(session));
  }

  C_GetAttributeValue(session: Handle, object: Handle, template: readonly AttributeType[]) {
    const types = template.map(({ type }) => type);
    const [owner, handle] = [ulongAt(session), ulongAt(object)];
    const call = ({ bytes }: Template) =>
      this.#call("C_GetAttributeValue", owner, handle, bytes, types.length);
    const asked = new Template(types);
    call(asked);
    const { lengths } = asked;
    bounded(lengths.reduce<number>((sum, length = 0) => sum + length, 0));
    const given = new Template(types, lengths);
    call(given);
    return types.map((type, at) => {
      const value = given.value(at);
      if (value === "too-long") throw returnValueError(pkcs11js.CKR_BUFFER_TOO_SMALL);
      return { type, value };
    });
  }

  C_FindObjectsInit(session: Handle, template: readonly Attribute[]): void {
    const { bytes } = filledTemplate(template.map(({ type, value }) => [type, toBytes(value)]));
    this.#call("C_FindObjectsInit", ulongAt(session), bytes, template.length);
  }

  C_FindObjects(session: Handle, max: number): Handle[] {
    const objects = Buffer.alloc(max * word);
    const count = Buffer.alloc(word);
    this.#call("C_FindObjects", ulongAt(session), objects, max, count);
    return splitList(objects, count);
  }

  C_FindObjectsFinal(session: Handle): void {
    this.#call("C_FindObjectsFinal", ulongAt(session));
  }

  C_SignInit(session: Handle, { mechanism, parameter }: Mechanism, key: Handle): void {
    const { bytes } = filledTemplate([[mechanism, parameter]]); // CK_MECHANISM looks the same
    this.#call("C_SignInit", ulongAt(session), bytes, ulongAt(key));
  }

  async C_Sign(session: Handle, input: Buffer, output: Buffer): Promise<number> {
    const length = Buffer.alloc(word);
    writeUlong(length, 0, output.length);
    await this.#callAside("C_Sign", ulongAt(session), input, input.length, output, length);
    return Number(ulongAt(length));
  }

  C_SignUpdate(session: Handle, input: Buffer): void {
    this.#call("C_SignUpdate", ulongAt(session), input, input.length);
  }

  async C_SignFinal(session: Handle, output: Buffer): Promise<number> {
    const length = Buffer.alloc(word);
    writeUlong(length, 0, output.length);
    await this.#callAside("C_SignFinal", ulongAt(session), output, length);
    return Number(ulongAt(length));
  }

  /** @throws an error with the CKR_ value that the function returns */
  #call(name: FunctionName, ...values: Argument[]): void {
    throwUnlessOk(this.#function(name)(...values));
  }

  /** Calls a function that may last, on another thread unless the library does not lock. */
  async #callAside(name: FunctionName, ...values: Argument[]): Promise<void> {
    const call = this.#function(name);
    if (!this.#locks) return throwUnlessOk(call(...values));
    const result = await new Promise((resolve, reject) => {
      const done = (_held: unknown, error: unknown, value: unknown) => {
        if (error) reject(error);
        else resolve(value);
      };
      // The library uses the buffers meanwhile; this binding keeps them from being collected.
      call.async(...values, done.bind(undefined, values));
    });
    throwUnlessOk(result);
  }

  /** @throws CKR_FUNCTION_NOT_SUPPORTED, if the list has NULL in its place */
  #function(name: FunctionName): NativeFunction {
    const known = this.#functions.get(name);
    if (known !== undefined) return known;
    const { place, parameters } = functions[name];
    const address: unknown = koffi.decode(this.#list, (1 + place) * word, pointer);
    if (address === null) throw returnValueError(pkcs11js.CKR_FUNCTION_NOT_SUPPORTED);
    const made: NativeFunction = koffi.decode(address, koffi.proto(ulong, [...parameters]));
    this.#functions.set(name, made);
    return made;
  }
}

/** The maximum length of a list or of all values, in bytes. */
const maxLength = 64 * 1024 * 1024;

/** @throws CKR_HOST_MEMORY for an absurd length, in bytes */
function bounded(length: number): number {
  if (length <= maxLength) return length;
  throw returnValueError(pkcs11js.CKR_HOST_MEMORY);
}

/** @param value a CK_RV @throws an error for any but CKR_OK */
function throwUnlessOk(value: unknown): void {
  if (typeof value !== "number" && typeof value !== "bigint") throw new Error("No CK_RV.");
  if (value !== pkcs11js.CKR_OK) throw returnValueError(value);
}
