/** Finds the keys of a token among its objects (PKCS#11 v3.0, section 4). */
import { blobId, encodePublicKey, type PublicKey } from "../../../protocol/public-key.ts";
import { type LeftOut, objectName } from "../messages.ts";
import { type Cryptoki, edwardsKeyType, type Handle, pkcs11js } from "./cryptoki.ts";
import { pair } from "./pairing.ts";
import { type PrivateKey, type PublicSide, privateKeys, type TokenKey } from "./private-keys.ts";
import { ecPublicKey, readCertificate, rsaPublicKey, Unusable } from "./public-keys.ts";
import {
  type ObjectClass,
  readEach,
  reasonFor,
  type TokenObject,
  TokenObjects,
} from "./token-objects.ts";

/** What a token has: its keys, and the objects that are no keys for SSH. */
export interface FoundKeys {
  readonly keys: readonly TokenKey[];
  readonly leftOut: readonly LeftOut[];
  /** Keys that are left out because of CKA_SIGN; some tokens sign with them all the same. */
  readonly doubtful: ReadonlyMap<TokenKey, LeftOut>;
}

/** A public key, and its objects. */
interface PublicObjects extends PublicSide {
  readonly keyBlob: Buffer;
  readonly ids: Buffer[];
  readonly labels: string[];
  /** The first object, for `LeftOut`. */
  readonly name: string;
  readonly source: PublicSide["source"];
}

/** An object with a public key. */
interface PublicObject {
  readonly object: TokenObject;
  readonly publicKey: PublicKey;
  readonly source: PublicSide["source"];
}

const x509 = 0;

/** First, so that an object that cannot be read further has its name. */
const nameAttributes = [pkcs11js.CKA_ID, pkcs11js.CKA_LABEL] as const;
const publicAttributes = [...nameAttributes, pkcs11js.CKA_KEY_TYPE] as const;
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
  const found = byPublicKey([
    ...readEach(objects, publicKeys, leftOut),
    ...readEach(objects, certificates, leftOut),
  ]);
  const { pairs, alone } = pair(found, privates, mayBeHidden);
  for (const one of alone) {
    try {
      const publicKey = one.readPublicKey();
      if (publicKey === undefined) throw new Unusable("no public key");
      const { object } = one;
      for (const own of byPublicKey([{ object, publicKey, source: "key" }])) pairs.set(own, one);
    } catch (error) {
      leftOut.push(reasonFor("private key", one.object, error));
    }
  }
  objects.checkPresence();
  const keys: TokenKey[] = [];
  const doubtful = new Map<TokenKey, LeftOut>();
  for (const one of new Set([...found, ...pairs.keys()])) {
    const own = pairs.get(one);
    if (own?.signs ?? mayBeHidden) {
      keys.push(tokenKey(one, own));
      continue;
    }
    const left = { object: one.name, reason: own ? "may not sign" : "no private key" };
    leftOut.push(left);
    if (own) doubtful.set(tokenKey(one, own), left);
  }
  return { keys: keys.sort((one, other) => compareIds(one.id, other.id)), leftOut, doubtful };
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

function tokenKey(found: PublicObjects, own: PrivateKey | undefined): TokenKey {
  const { publicKey, keyBlob, source } = found;
  const ids = own === undefined ? found.ids : [...found.ids, own.object.id];
  const labels = own === undefined ? found.labels : [...found.labels, own.object.label];
  return {
    publicKey,
    keyBlob,
    source,
    ids,
    labels,
    label: labels.find((label) => label !== "") ?? "",
    id: (own?.sharesId(found) ? own.object.id : ids.find(({ length }) => length > 0)) ?? noId,
    handle: own?.handle,
    alwaysAuthenticate: own?.alwaysAuthenticate ?? false,
  };
}

const noId = Buffer.alloc(0);

const publicKeys: ObjectClass<PublicObject> = {
  objectClass: pkcs11js.CKO_PUBLIC_KEY,
  name: "public key",
  read: (object) => {
    const publicKey = readPublicKey(object.read(publicAttributes));
    return { object, publicKey, source: "key" };
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
    const { publicKey, isAuthority } = readCertificate(object.get(pkcs11js.CKA_VALUE));
    return { object, publicKey, source: isAuthority ? "authority" : "certificate" };
  },
};

/** The objects of each key. */
function byPublicKey(all: readonly PublicObject[]): PublicObjects[] {
  const keys = new Map<string, PublicObjects>();
  for (const { object, publicKey, source } of all) {
    const keyBlob = encodePublicKey(publicKey);
    const known = keys.get(blobId(keyBlob));
    if (known === undefined) {
      const kind = source === "key" ? "public key" : "certificate";
      const name = objectName(kind, object.label, object.id);
      const [ids, labels] = [[object.id], [object.label]];
      keys.set(blobId(keyBlob), { publicKey, keyBlob, ids, labels, name, source });
    } else {
      known.ids.push(object.id);
      known.labels.push(object.label);
    }
  }
  return [...keys.values()];
}
