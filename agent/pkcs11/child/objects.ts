/** Finds the keys of a token among its objects (PKCS#11 v3.0, section 4). */
import { blobId, encodePublicKey, type PublicKey } from "../../../protocol/public-key.ts";
import { trimZeros } from "../../../protocol/wire.ts";
import type { LeftOut } from "../messages.ts";
import { type Cryptoki, edwardsKeyType, type Handle, pkcs11js } from "./cryptoki.ts";
import { certifiedPublicKey, ecPublicKey, rsaPublicKey } from "./public-keys.ts";
import { type TokenObject, TokenObjects, Unusable } from "./token-objects.ts";

/** A key whose private key is on the token, or may be, before the login. */
export interface TokenKey {
  readonly publicKey: PublicKey;
  readonly keyBlob: Buffer;
  readonly label: string;
  /** The labels of the key's objects: public key, private key, certificate. */
  readonly labels: readonly string[];
  /** CKA_ID, which the key's objects share. */
  readonly id: Buffer;
  /** The private key; undefined while the session cannot see it. */
  readonly handle: Handle | undefined;
  /** CKA_ALWAYS_AUTHENTICATE: the token requires its PIN for each signature. */
  readonly alwaysAuthenticate: boolean;
}

/** What a token has: its keys, and the objects that are no keys for SSH. */
export interface FoundKeys {
  readonly keys: readonly TokenKey[];
  readonly leftOut: readonly LeftOut[];
}

interface PublicObject {
  readonly publicKey: PublicKey;
  readonly id: Buffer;
  readonly label: string;
  /** For `LeftOut`. */
  readonly name: string;
}

/** A private key that a session can see. */
export interface PrivateKey {
  readonly handle: Handle;
  /** CKA_SIGN. */
  readonly signs: boolean;
  readonly alwaysAuthenticate: boolean;
}

interface PrivateObject extends PrivateKey {
  readonly id: Buffer;
  readonly label: string;
  /** For `LeftOut`. */
  readonly name: string;
  readonly keyType: number | undefined;
  /** CKA_MODULUS and CKA_PUBLIC_EXPONENT of an RSA key, if the token has them. */
  readonly modulus: Buffer | undefined;
  readonly exponent: Buffer | undefined;
}

const x509 = 0;

/** First, so that an object that cannot be read further has its name. */
const nameAttributes = [pkcs11js.CKA_ID, pkcs11js.CKA_LABEL] as const;
const publicAttributes = [...nameAttributes, pkcs11js.CKA_KEY_TYPE] as const;
const privateAttributes = [
  ...publicAttributes,
  pkcs11js.CKA_SIGN,
  pkcs11js.CKA_ALWAYS_AUTHENTICATE,
] as const;
const certificateAttributes = [
  ...nameAttributes,
  pkcs11js.CKA_CERTIFICATE_TYPE,
  pkcs11js.CKA_VALUE,
] as const;
const rsaAttributes = [pkcs11js.CKA_MODULUS, pkcs11js.CKA_PUBLIC_EXPONENT] as const;
const ecAttributes = [pkcs11js.CKA_EC_PARAMS, pkcs11js.CKA_EC_POINT] as const;

/**
 * The token's keys, each once, sorted by CKA_ID: tokens list objects in any order, some in a new
 * one each time, and users expect a stable list.
 * @param privateHidden whether there may be private keys that the session cannot see
 * @throws the library's error if no search succeeds or the token goes meanwhile; module-crashed if
 *   a search is endless
 */
export function findKeys(cryptoki: Cryptoki, session: Handle, privateHidden: boolean): FoundKeys {
  const objects = new TokenObjects(cryptoki, session);
  const leftOut: LeftOut[] = [];
  const privates = readEach(objects, privateKeys, leftOut);
  const mayBeHidden = privateHidden || objects.isUnsearchable(privateKeys.objectClass);
  const found = [
    ...readEach(objects, publicKeys, leftOut),
    ...readEach(objects, certificates, leftOut),
    ...rsaPublicObjects(privates),
  ];
  objects.checkPresence();
  const keys = new Map<string, TokenKey>();
  const without = new Map<string, LeftOut>();
  for (const { publicKey, id, label, name: object } of found) {
    const keyBlob = encodePublicKey(publicKey);
    const name = blobId(keyBlob);
    const known = keys.get(name);
    if (known !== undefined) {
      const labels = [...known.labels, label];
      keys.set(name, { ...known, labels, label: known.label || label });
      continue;
    }
    const candidates = privates.filter((object) => isPrivateKeyOf(object, publicKey, id));
    const own = candidates.find(({ signs }) => signs);
    if (own === undefined && (candidates.length > 0 || !mayBeHidden)) {
      const reason = candidates.length > 0 ? "may not sign" : "no private key";
      if (!without.has(name)) without.set(name, { object, reason });
      continue;
    }
    keys.set(name, {
      publicKey,
      keyBlob,
      label: label || (own?.label ?? ""),
      labels: own === undefined ? [label] : [label, own.label],
      id,
      handle: own?.handle,
      alwaysAuthenticate: own?.alwaysAuthenticate ?? false,
    });
  }
  for (const [name, one] of without) if (!keys.has(name)) leftOut.push(one);
  return { keys: [...keys.values()].sort((one, other) => compareIds(one.id, other.id)), leftOut };
}

/** The token's objects that can be no keys for SSH, such as "2 data objects". */
export function countOthers(cryptoki: Cryptoki, session: Handle): string[] {
  const objects = new TokenObjects(cryptoki, session);
  return otherClasses.flatMap(([objectClass, name]) => {
    const count = countOrZero(() => objects.find(objectClass).length);
    return count === 0 ? [] : [`${count} ${name}${count === 1 ? "" : "s"}`];
  });
}

const otherClasses = [
  [pkcs11js.CKO_DATA, "data object"],
  [pkcs11js.CKO_SECRET_KEY, "secret key"],
] as const;

/** Some libraries cannot search every class. */
function countOrZero(count: () => number): number {
  try {
    return count();
  } catch {
    return 0;
  }
}

/** Shorter IDs first: most IDs are numbers, such as PIV's 1 to 25. */
function compareIds(one: Buffer, other: Buffer): number {
  return one.length - other.length || Buffer.compare(one, other);
}

/**
 * The private key of a public key, preferably one with CKA_SIGN; undefined if the session cannot
 * see it.
 */
export function findPrivateKey(
  cryptoki: Cryptoki,
  session: Handle,
  key: TokenKey,
): PrivateKey | undefined {
  const objects = new TokenObjects(cryptoki, session);
  const privates = readEach(objects, privateKeys, []); // checkPresence throws if that fails
  objects.checkPresence();
  const candidates = privates.filter((object) => isPrivateKeyOf(object, key.publicKey, key.id));
  return candidates.find(({ signs }) => signs) ?? candidates[0];
}

function isPrivateKeyOf(object: PrivateObject, publicKey: PublicKey, id: Buffer): boolean {
  if (!object.id.equals(id)) return false;
  if (object.keyType !== undefined && !keyTypes(publicKey).includes(object.keyType)) return false;
  if (publicKey.type !== "rsa" || object.modulus === undefined) return true;
  return trimZeros(object.modulus).equals(publicKey.n);
}

function keyTypes(key: PublicKey): readonly number[] {
  switch (key.type) {
    case "rsa":
      return [pkcs11js.CKK_RSA];
    case "ecdsa":
      return [pkcs11js.CKK_EC];
    case "ed25519":
      return [edwardsKeyType, pkcs11js.CKK_EC];
    default:
      return [];
  }
}

/** A class of objects, and how one is read. */
interface ObjectClass<Read> {
  readonly objectClass: number;
  /** For `LeftOut`. */
  readonly name: string;
  /** @throws {Unusable} */
  readonly read: (object: TokenObject) => Read;
}

const privateKeys: ObjectClass<PrivateObject> = {
  objectClass: pkcs11js.CKO_PRIVATE_KEY,
  name: "private key",
  read(object) {
    object.read(privateAttributes);
    const keyType = object.getNumber(pkcs11js.CKA_KEY_TYPE);
    if (keyType === pkcs11js.CKK_RSA) object.read(rsaAttributes);
    const modulus = object.get(pkcs11js.CKA_MODULUS);
    return {
      handle: object.handle,
      id: object.id,
      label: object.label,
      name: describe("private key", object),
      keyType,
      modulus: modulus?.length === 0 ? undefined : modulus,
      exponent: object.get(pkcs11js.CKA_PUBLIC_EXPONENT),
      signs: object.get(pkcs11js.CKA_SIGN)?.[0] !== 0,
      alwaysAuthenticate: object.get(pkcs11js.CKA_ALWAYS_AUTHENTICATE)?.[0] === 1,
    };
  },
};

const publicKeys: ObjectClass<PublicObject> = {
  objectClass: pkcs11js.CKO_PUBLIC_KEY,
  name: "public key",
  read(object) {
    const publicKey = readPublicKey(object.read(publicAttributes));
    const { id, label } = object;
    return { publicKey, id, label, name: describe("public key", object) };
  },
};

/** @throws {Unusable} */
function readPublicKey(object: TokenObject): PublicKey {
  const type = object.getNumber(pkcs11js.CKA_KEY_TYPE);
  switch (type) {
    case pkcs11js.CKK_RSA:
      object.read(rsaAttributes);
      return rsaPublicKey(
        object.get(pkcs11js.CKA_MODULUS),
        object.get(pkcs11js.CKA_PUBLIC_EXPONENT),
      );
    case pkcs11js.CKK_EC:
    case edwardsKeyType:
      object.read(ecAttributes);
      return ecPublicKey(
        object.get(pkcs11js.CKA_EC_PARAMS),
        object.get(pkcs11js.CKA_EC_POINT),
        type === edwardsKeyType,
      );
    default:
      throw new Unusable("key type not used by SSH");
  }
}

const certificates: ObjectClass<PublicObject> = {
  objectClass: pkcs11js.CKO_CERTIFICATE,
  name: "certificate",
  read(object) {
    object.read(certificateAttributes);
    if ((object.getNumber(pkcs11js.CKA_CERTIFICATE_TYPE) ?? x509) !== x509) {
      throw new Unusable("not an X.509 certificate");
    }
    const publicKey = certifiedPublicKey(object.get(pkcs11js.CKA_VALUE));
    const { id, label } = object;
    return { publicKey, id, label, name: describe("certificate", object) };
  },
};

/** @param leftOut gets the objects that cannot be used */
function readEach<Read>(
  objects: TokenObjects,
  { objectClass, name, read }: ObjectClass<Read>,
  leftOut: LeftOut[],
): Read[] {
  return objects.search(objectClass, name, leftOut).flatMap((object) => {
    try {
      return [read(object)];
    } catch (error) {
      if (!(error instanceof Unusable)) throw error;
      leftOut.push({ object: describe(name, object), reason: error.message });
      return [];
    }
  });
}

/** An object by its class, label and ID, such as `public key "SIGN key", ID 02`. */
function describe(name: string, { id, label }: TokenObject): string {
  const called = label === "" ? name : `${name} ${JSON.stringify(label)}`;
  if (id.length === 0) return called;
  const hex = id.toString("hex", 0, maxIdLength);
  return `${called}, ID ${hex}${id.length > maxIdLength ? "…" : ""}`;
}

/** The number of bytes of a CKA_ID in the description of an object. */
const maxIdLength = 32;

/** The public keys of RSA private keys, for those without a public key object or certificate. */
function rsaPublicObjects(privates: readonly PrivateObject[]): PublicObject[] {
  return privates.flatMap(({ id, label, name, modulus, exponent }) => {
    if (modulus === undefined || exponent === undefined) return [];
    try {
      return [{ publicKey: rsaPublicKey(modulus, exponent), id, label, name }];
    } catch {
      return [];
    }
  });
}
