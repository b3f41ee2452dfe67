/** Searches a token's objects and reads their attributes (PKCS#11 v3.0, sections 5.7.5 to 5.7.9). */
import { sanitizeName } from "../../../openssh/text-for-display.ts";
import { Failure } from "../../../protocol/failure.ts";
import { type LeftOut, objectName } from "../messages.ts";
import {
  type Attribute,
  type Cryptoki,
  type Handle,
  pkcs11js,
  readUlong,
  returnValue,
  valueText,
} from "./cryptoki.ts";
import { Unusable } from "./public-keys.ts";

/** The number of objects per C_FindObjects. */
const batch = 32;
/** The maximum number of objects per search; beyond it, C_FindObjects is taken to be endless. */
const maxObjects = 65_536;

/** CKR_ values of an attribute that an object does not have, or does not show to anybody. */
const absentValues: ReadonlySet<string | undefined> = new Set([
  "CKR_ATTRIBUTE_TYPE_INVALID",
  "CKR_ATTRIBUTE_SENSITIVE",
]);

/** CKA_PUBLIC_KEY_INFO of PKCS#11 v2.40, which `pkcs11js` lacks. */
export const publicKeyInfo = 0x129;

/** An object with an attribute that exists and cannot be read. */
class Unreadable extends Unusable {
  /** @param error the library's */
  constructor(error: unknown) {
    super(`unreadable (${valueText(error)})`, { cause: error });
  }
}

/** The objects that a session sees. */
export class TokenObjects {
  readonly #cryptoki: Cryptoki;
  readonly #session: Handle;
  /** Attributes that some object lacks: reading them with others would fail for those, too. */
  readonly #oftenAbsent = new Set<number>();
  /** The last object that was read without an error. */
  #readable: TokenObject | undefined;
  /** The last object that could not be read, if no other was read after it. */
  #unreadable: Unreadable | undefined;
  /** The last class that was searched without an error. */
  #searchable: number | undefined;
  /** The classes whose search failed, with the library's errors. */
  readonly #unsearchable = new Map<number, unknown>();

  constructor(cryptoki: Cryptoki, session: Handle) {
    this.#cryptoki = cryptoki;
    this.#session = session;
  }

  /**
   * The objects of a class, or those with a CKA_ID, which some libraries ignore or refuse.
   * @throws the library's error if the search fails; module-crashed if it is endless
   */
  find(objectClass: number, id?: Buffer): TokenObject[] {
    const template: Attribute[] = [{ type: pkcs11js.CKA_CLASS, value: objectClass }];
    if (id !== undefined) template.push({ type: pkcs11js.CKA_ID, value: id });
    return [...this.#find(template)];
  }

  /**
   * The objects of a class. A class that cannot be searched counts as empty, or as what was found.
   * @param name the class's, for `leftOut`, which gets it if the search fails
   * @throws {Failure} module-crashed if the search is endless
   */
  search(objectClass: number, name: string, leftOut: LeftOut[]): TokenObject[] {
    const objects: TokenObject[] = [];
    try {
      const template = [{ type: pkcs11js.CKA_CLASS, value: objectClass }];
      for (const object of this.#find(template)) objects.push(object);
      this.#searchable = objectClass;
    } catch (error) {
      if (error instanceof Failure) throw error;
      this.#unsearchable.set(objectClass, error);
      const object = objects.length === 0 ? `any ${name}` : `any other ${name}`;
      leftOut.push({ object, reason: `cannot be searched (${valueText(error)})` });
    }
    return objects;
  }

  /** Whether `search` failed for a class, which may have more objects. */
  isUnsearchable(objectClass: number): boolean {
    return this.#unsearchable.has(objectClass);
  }

  *#find(template: readonly Attribute[]): Generator<TokenObject, void> {
    const cryptoki = this.#cryptoki;
    cryptoki.C_FindObjectsInit(this.#session, template);
    try {
      for (let count = 0; ; ) {
        const some = cryptoki.C_FindObjects(this.#session, batch);
        if (some.length === 0) return;
        count += some.length;
        if (count > maxObjects) throw tooManyObjects();
        for (const handle of some) yield new TokenObject(this, handle);
      }
    } finally {
      this.#endSearch();
    }
  }

  /** C_FindObjectsFinal. Its errors are ignored: the objects have been found. */
  #endSearch(): void {
    try {
      this.#cryptoki.C_FindObjectsFinal(this.#session);
    } catch {
      // ignored
    }
  }

  /**
   * Reads attributes in one call, or one by one if that fails; an object need not have them all.
   * @param values gets those that it has
   * @throws {Unusable} if one exists and cannot be read, in two attempts
   */
  read(object: TokenObject, types: readonly number[], values: Map<number, Buffer>): void {
    const together = types.filter((type) => !this.#oftenAbsent.has(type));
    const apart = types.filter((type) => this.#oftenAbsent.has(type));
    if (!this.#tryRead(object, together, values)) apart.unshift(...together);
    for (const type of apart) this.#readOne(object, type, values);
    this.#readable = object;
    this.#unreadable = undefined;
  }

  /**
   * Call after reading the last object. One object may be unreadable, and a class unsearchable; if
   * the last ones were, the token may have gone, and what was read is not all that it has.
   * @throws the library's error, if an object can no longer be read that was readable before, or no
   *   class can be searched
   */
  checkPresence(): void {
    this.#checkSearch();
    const unreadable = this.#unreadable;
    if (unreadable === undefined) return;
    if (this.#readable === undefined) throw unreadable.cause;
    try {
      this.#readOne(this.#readable, pkcs11js.CKA_CLASS, new Map());
    } catch {
      throw unreadable.cause;
    }
  }

  #checkSearch(): void {
    const [error] = this.#unsearchable.values();
    if (error === undefined) return;
    if (this.#searchable === undefined) throw error;
    try {
      this.find(this.#searchable);
    } catch {
      throw error;
    }
  }

  #readOne(object: TokenObject, type: number, values: Map<number, Buffer>): void {
    for (let attempt = 1; ; attempt++) {
      try {
        this.#readInto(object, [type], values);
        return;
      } catch (error) {
        const isAbsent = absentValues.has(returnValue(error));
        if (isAbsent) this.#oftenAbsent.add(type);
        if (isAbsent || (attempt === 2 && type === pkcs11js.CKA_LABEL)) return;
        if (attempt === 1) continue;
        this.#unreadable = new Unreadable(error);
        throw this.#unreadable;
      }
    }
  }

  #tryRead(object: TokenObject, types: readonly number[], values: Map<number, Buffer>): boolean {
    try {
      if (types.length > 0) this.#readInto(object, types, values);
      return true;
    } catch {
      return false;
    }
  }

  #readInto(object: TokenObject, types: readonly number[], values: Map<number, Buffer>): void {
    const template = types.map((type) => ({ type }));
    const read = this.#cryptoki.C_GetAttributeValue(this.#session, object.handle, template);
    for (const { type, value } of read) if (Buffer.isBuffer(value)) values.set(type, value);
  }
}

function tooManyObjects(): Failure {
  const hint = "Look for a newer version of the library.";
  return new Failure(
    "module-crashed",
    "The library lists more objects than a token can hold.",
    hint,
  );
}

/** An object, and the attributes that were read. */
export class TokenObject {
  readonly handle: Handle;
  readonly #objects: TokenObjects;
  readonly #values = new Map<number, Buffer>();

  /** @param objects those of the session in which the handle is valid */
  constructor(objects: TokenObjects, handle: Handle) {
    this.#objects = objects;
    this.handle = handle;
  }

  /** Reads attributes. @throws {Unusable} as `TokenObjects.read` */
  read(types: readonly number[]): this {
    this.#objects.read(this, types, this.#values);
    return this;
  }

  /** An attribute that was read; undefined if the object does not have it. */
  get(type: number): Buffer | undefined {
    return this.#values.get(type);
  }

  /** An attribute that is a CK_ULONG. */
  getNumber(type: number): number | undefined {
    const value = this.#values.get(type);
    const number = value && readUlong(value);
    return number === undefined ? undefined : Number(number);
  }

  /** CKA_ID, or empty. */
  get id(): Buffer {
    return this.get(pkcs11js.CKA_ID) ?? Buffer.alloc(0);
  }

  /** CKA_LABEL, safe to display, or empty. */
  get label(): string {
    const label = this.get(pkcs11js.CKA_LABEL) ?? Buffer.alloc(0);
    const end = label.findLastIndex((byte) => byte !== 0) + 1; // some libraries pad it with zeros
    return sanitizeName(label.toString("utf8", 0, end));
  }
}

/** A class of objects, and how one is read. */
export interface ObjectClass<Read> {
  readonly objectClass: number;
  /** For `LeftOut`. */
  readonly name: string;
  /** @throws {Unusable} */
  readonly read: (object: TokenObject) => Read;
}

/** @param leftOut gets the objects that cannot be used */
export function readEach<Read>(
  objects: TokenObjects,
  kind: ObjectClass<Read>,
  leftOut: LeftOut[],
): Read[] {
  return readAll(objects.search(kind.objectClass, kind.name, leftOut), kind, leftOut);
}

export function readAll<Read>(
  objects: readonly TokenObject[],
  { name, read }: ObjectClass<Read>,
  leftOut: LeftOut[],
): Read[] {
  return objects.flatMap((object) => {
    try {
      return [read(object)];
    } catch (error) {
      leftOut.push(reasonFor(name, object, error));
      return [];
    }
  });
}

/** @throws the error, if it is not a reason */
export function reasonFor(name: string, object: TokenObject, error: unknown): LeftOut {
  if (!(error instanceof Unusable)) throw error;
  return { object: objectName(name, object.label, object.id), reason: error.message };
}
