/** Finds the keys of a token among its objects (PKCS#11 v3.0, section 4). */
import { sanitizeName } from "../../../openssh/text-for-display.ts";
import { Failure } from "../../../protocol/failure.ts";
import { blobId, encodePublicKey, type PublicKey } from "../../../protocol/public-key.ts";
import { trimZeros } from "../../../protocol/wire.ts";
import { type Cryptoki, edwardsKeyType, type Handle, pkcs11js, readUlong } from "./cryptoki.ts";
import { certifiedPublicKey, ecPublicKey, rsaPublicKey } from "./public-keys.ts";

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

interface PublicObject {
  readonly publicKey: PublicKey;
  readonly id: Buffer;
  readonly label: string;
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
  readonly keyType: number | undefined;
  /** CKA_MODULUS and CKA_PUBLIC_EXPONENT of an RSA key, if the token has them. */
  readonly modulus: Buffer | undefined;
  readonly exponent: Buffer | undefined;
}

/** The number of objects per C_FindObjects. */
const batch = 32;
/** The maximum number of objects per class; beyond it, C_FindObjects is taken to be endless. */
const maxObjects = 65_536;
const x509 = 0;

const nameAttributes = [pkcs11js.CKA_ID, pkcs11js.CKA_LABEL] as const;
const publicAttributes = [pkcs11js.CKA_KEY_TYPE, ...nameAttributes] as const;
const privateAttributes = [
  ...publicAttributes,
  pkcs11js.CKA_SIGN,
  pkcs11js.CKA_ALWAYS_AUTHENTICATE,
] as const;
const certificateAttributes = [
  pkcs11js.CKA_CERTIFICATE_TYPE,
  pkcs11js.CKA_VALUE,
  ...nameAttributes,
] as const;
const rsaAttributes = [pkcs11js.CKA_MODULUS, pkcs11js.CKA_PUBLIC_EXPONENT] as const;
const ecAttributes = [pkcs11js.CKA_EC_PARAMS, pkcs11js.CKA_EC_POINT] as const;

/**
 * The token's keys, each once, sorted by CKA_ID: tokens list objects in any order, some in a new
 * one each time, and users expect a stable list.
 * @param privateHidden whether there may be private keys that the session cannot see
 * @throws the library's error if a search fails; module-crashed if a search is endless
 */
export function findKeys(cryptoki: Cryptoki, session: Handle, privateHidden: boolean): TokenKey[] {
  const privates = findPrivateObjects(cryptoki, session);
  const seen = [...findPublicKeys(cryptoki, session), ...findCertificates(cryptoki, session)];
  const found = [...seen, ...rsaPublicObjects(privates)];
  const keys = new Map<string, TokenKey>();
  for (const { publicKey, id, label } of found) {
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
    if (own === undefined && (candidates.length > 0 || !privateHidden)) continue;
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
  return [...keys.values()].sort((one, other) => compareIds(one.id, other.id));
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
  const objects = findPrivateObjects(cryptoki, session);
  const candidates = objects.filter((object) => isPrivateKeyOf(object, key.publicKey, key.id));
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

function findPrivateObjects(cryptoki: Cryptoki, session: Handle): PrivateObject[] {
  return findObjects(cryptoki, session, pkcs11js.CKO_PRIVATE_KEY).map((handle) => {
    const readAll = reader(cryptoki, session, handle);
    const read = readAll(privateAttributes);
    const type = readNumber(read(pkcs11js.CKA_KEY_TYPE));
    const numbers = type === pkcs11js.CKK_RSA ? readAll(rsaAttributes) : undefined;
    const modulus = numbers?.(pkcs11js.CKA_MODULUS);
    return {
      handle,
      ...readName(read),
      keyType: type,
      modulus: modulus?.length === 0 ? undefined : modulus,
      exponent: numbers?.(pkcs11js.CKA_PUBLIC_EXPONENT),
      signs: read(pkcs11js.CKA_SIGN)?.[0] !== 0,
      alwaysAuthenticate: read(pkcs11js.CKA_ALWAYS_AUTHENTICATE)?.[0] === 1,
    };
  });
}

function findPublicKeys(cryptoki: Cryptoki, session: Handle): PublicObject[] {
  return findObjects(cryptoki, session, pkcs11js.CKO_PUBLIC_KEY).flatMap((handle) => {
    const readAll = reader(cryptoki, session, handle);
    const read = readAll(publicAttributes);
    const publicKey = readPublicKey(readNumber(read(pkcs11js.CKA_KEY_TYPE)), readAll);
    return publicKey === undefined ? [] : [{ publicKey, ...readName(read) }];
  });
}

function readPublicKey(type: number | undefined, readAll: ReadAttributes): PublicKey | undefined {
  switch (type) {
    case pkcs11js.CKK_RSA: {
      const read = readAll(rsaAttributes);
      return rsaPublicKey(read(pkcs11js.CKA_MODULUS), read(pkcs11js.CKA_PUBLIC_EXPONENT));
    }
    case pkcs11js.CKK_EC:
    case edwardsKeyType: {
      const read = readAll(ecAttributes);
      return ecPublicKey(read(pkcs11js.CKA_EC_PARAMS), read(pkcs11js.CKA_EC_POINT));
    }
    default:
      return undefined;
  }
}

function findCertificates(cryptoki: Cryptoki, session: Handle): PublicObject[] {
  return findObjects(cryptoki, session, pkcs11js.CKO_CERTIFICATE).flatMap((handle) => {
    const read = reader(cryptoki, session, handle)(certificateAttributes);
    if ((readNumber(read(pkcs11js.CKA_CERTIFICATE_TYPE)) ?? x509) !== x509) return [];
    const publicKey = certifiedPublicKey(read(pkcs11js.CKA_VALUE));
    return publicKey === undefined ? [] : [{ publicKey, ...readName(read) }];
  });
}

/** The public keys of RSA private keys, for those without a public key object or certificate. */
function rsaPublicObjects(privates: readonly PrivateObject[]): PublicObject[] {
  return privates.flatMap(({ id, label, modulus, exponent }) => {
    const publicKey = rsaPublicKey(modulus, exponent);
    return publicKey === undefined ? [] : [{ publicKey, id, label }];
  });
}

function findObjects(cryptoki: Cryptoki, session: Handle, objectClass: number): Handle[] {
  cryptoki.C_FindObjectsInit(session, [{ type: pkcs11js.CKA_CLASS, value: objectClass }]);
  try {
    const handles: Handle[] = [];
    for (;;) {
      const some = cryptoki.C_FindObjects(session, batch);
      if (some.length === 0) return handles;
      if (some.length > batch || handles.length > maxObjects) throw tooManyObjects();
      handles.push(...some);
    }
  } finally {
    cryptoki.C_FindObjectsFinal(session);
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

/** The value of an object's attribute; undefined if the token does not return it. */
type Attributes = (type: number) => Buffer | undefined;

/** Reads attributes of an object. */
type ReadAttributes = (types: readonly number[]) => Attributes;

/** Reads attributes in one call, or one by one if that fails because the token lacks some. */
function reader(cryptoki: Cryptoki, session: Handle, object: Handle): ReadAttributes {
  const values = new Map<number, Buffer>();
  const tryRead = (types: readonly number[]) => {
    const template = types.map((type) => ({ type }));
    try {
      for (const { type, value } of cryptoki.C_GetAttributeValue(session, object, template)) {
        if (Buffer.isBuffer(value)) values.set(type, value);
      }
      return true;
    } catch {
      return false;
    }
  };
  return (types) => {
    if (!tryRead(types)) for (const type of types) tryRead([type]);
    return (type) => values.get(type);
  };
}

function readName(read: Attributes): { id: Buffer; label: string } {
  const label = read(pkcs11js.CKA_LABEL) ?? Buffer.alloc(0);
  const end = label.findLastIndex((byte) => byte !== 0) + 1; // some libraries pad it with zeros
  return {
    id: read(pkcs11js.CKA_ID) ?? Buffer.alloc(0),
    label: sanitizeName(label.toString("utf8", 0, end)),
  };
}

function readNumber(value: Buffer | undefined): number | undefined {
  const number = value && readUlong(value);
  return number === undefined ? undefined : Number(number);
}
