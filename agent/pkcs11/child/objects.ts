/** The keys of a token, out of its objects (PKCS#11 v3.0, section 4). */
import { sanitizeName } from "../../../openssh/text-for-display.ts";
import { Failure } from "../../../protocol/failure.ts";
import { encodePublicKey, type PublicKey } from "../../../protocol/public-key.ts";
import { trimZeros } from "../../../protocol/wire.ts";
import { type Cryptoki, edwardsKeyType, type Handle, pkcs11js } from "./cryptoki.ts";
import { certifiedPublicKey, ecPublicKey, rsaPublicKey } from "./public-keys.ts";

/** A key of which the token has, or seems to have, the private part. */
export interface TokenKey {
  readonly publicKey: PublicKey;
  readonly keyBlob: Buffer;
  readonly label: string;
  /** The labels of all objects of the key: its public key, its private key, its certificate. */
  readonly labels: readonly string[];
  /** CKA_ID, by which the private key is found again. */
  readonly id: Buffer;
  /** The private key, or undefined when it cannot be seen (yet). */
  readonly handle: Handle | undefined;
  /** CKA_ALWAYS_AUTHENTICATE: the token asks for the PIN at each signature. */
  readonly alwaysAuthenticate: boolean;
}

interface PublicObject {
  readonly publicKey: PublicKey;
  readonly id: Buffer;
  readonly label: string;
}

/** A private key, as a session sees it. */
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
  /** Of an RSA key, where the token tells them. */
  readonly modulus: Buffer | undefined;
  readonly exponent: Buffer | undefined;
}

/** How many objects are asked for at once. */
const batch = 32;
/** More of one class than a token has: whoever finds more than that finds them for ever. */
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
 * The keys of the token, each once, in the order of their CKA_ID: tokens list their objects in any
 * order, some in another one each time, and people look for a key where it was.
 * @param privateHidden whether private keys may be there that the session cannot see
 * @throws errors of the library, when it cannot search; module-crashed, when it finds no end
 */
export function findKeys(cryptoki: Cryptoki, session: Handle, privateHidden: boolean): TokenKey[] {
  const privates = findPrivateObjects(cryptoki, session);
  const seen = [...findPublicKeys(cryptoki, session), ...findCertificates(cryptoki, session)];
  const found = [...seen, ...rsaPairs(privates)];
  const keys = new Map<string, TokenKey>();
  for (const { publicKey, id, label } of found) {
    const keyBlob = encodePublicKey(publicKey);
    const name = keyBlob.toString("latin1");
    const known = keys.get(name);
    if (known !== undefined) {
      const labels = [...known.labels, label];
      keys.set(name, { ...known, labels, label: known.label || label });
      continue;
    }
    const candidates = privates.filter((object) => isPair(object, publicKey, id));
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

/** Shorter ones first: they are numbers, as a rule, such as PIV's 1 to 25. */
function compareIds(one: Buffer, other: Buffer): number {
  return one.length - other.length || Buffer.compare(one, other);
}

/**
 * The private key of a public one, or undefined when the session cannot see it: one that signs, if
 * there is one.
 */
export function findPrivateKey(
  cryptoki: Cryptoki,
  session: Handle,
  key: TokenKey,
): PrivateKey | undefined {
  const objects = findPrivateObjects(cryptoki, session);
  const candidates = objects.filter((object) => isPair(object, key.publicKey, key.id));
  return candidates.find(({ signs }) => signs) ?? candidates[0];
}

function isPair(object: PrivateObject, publicKey: PublicKey, id: Buffer): boolean {
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

/** RSA private keys tell their public key themselves, should no other object do. */
function rsaPairs(privates: readonly PrivateObject[]): PublicObject[] {
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

/** An attribute of one object; undefined when the token does not give it. */
type Attributes = (type: number) => Buffer | undefined;

/** Reads attributes of one object. */
type ReadAttributes = (types: readonly number[]) => Attributes;

/** Reads attributes at once, or one by one where the token lacks some and so refuses them all. */
function reader(cryptoki: Cryptoki, session: Handle, object: Handle): ReadAttributes {
  const values = new Map<number, Buffer>();
  const succeeds = (types: readonly number[]) => {
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
    if (!succeeds(types)) for (const type of types) succeeds([type]);
    return (type) => values.get(type);
  };
}

function readName(read: Attributes): { id: Buffer; label: string } {
  const label = read(pkcs11js.CKA_LABEL) ?? Buffer.alloc(0);
  const end = label.findLastIndex((byte) => byte !== 0) + 1; // some libraries end it with zeros
  return {
    id: read(pkcs11js.CKA_ID) ?? Buffer.alloc(0),
    label: sanitizeName(label.toString("utf8", 0, end)),
  };
}

/** A CK_ULONG, in the machine's own order of bytes. */
function readNumber(value: Buffer | undefined): number | undefined {
  if (value === undefined) return undefined;
  const bytes = Uint8Array.from(value).buffer;
  if (bytes.byteLength === 4) return new Uint32Array(bytes)[0];
  return bytes.byteLength === 8 ? Number(new BigUint64Array(bytes)[0]) : undefined;
}
