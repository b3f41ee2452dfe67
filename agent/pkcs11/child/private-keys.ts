/**
 * The private keys of a token, and how likely each belongs to a public key.
 *
 * CKA_ID should tell, but tokens leave it empty, use it twice, or give public and private key
 * different ones. What the private key shows of its public key decides; without that, its
 * signatures do.
 */
import { encodePublicKey, type PublicKey } from "../../../protocol/public-key.ts";
import { trimZeros } from "../../../protocol/wire.ts";
import { type Cryptoki, edwardsKeyType, type Handle, pkcs11js } from "./cryptoki.ts";
import { curveOf, ecPublicKey, infoPublicKey, rsaPublicKey, Unusable } from "./public-keys.ts";
import {
  type ObjectClass,
  publicKeyInfo,
  readAll,
  type TokenObject,
  TokenObjects,
} from "./token-objects.ts";

/** What is known of a key from its public objects. */
export interface PublicSide {
  readonly publicKey: PublicKey;
  /** The CKA_IDs of its objects. */
  readonly ids: readonly Buffer[];
  /** The labels of its objects. */
  readonly labels: readonly string[];
  /** Its first object: a public key or private key, or the certificate of an end entity or a CA. */
  readonly source: "key" | "certificate" | "authority";
}

/** A key whose private key is on the token, or may be, before the login. */
export interface TokenKey extends PublicSide {
  readonly keyBlob: Buffer;
  readonly label: string;
  /** CKA_ID: the one that the key's objects share, or the public one's. */
  readonly id: Buffer;
  /** The private key; undefined while the session cannot see it. */
  readonly handle: Handle | undefined;
  /** CKA_ALWAYS_AUTHENTICATE: the token requires its PIN for each signature. */
  readonly alwaysAuthenticate: boolean;
}

/** Whether a private key is that of a public key, as far as the token shows. */
type Match = "same" | "possible" | "other";

/** How badly a private key suits a public key. The first two numbers are for the match and the ID. */
type Distance = readonly [match: number, id: number, ...more: number[]];

const privateAttributes = [
  pkcs11js.CKA_ID,
  pkcs11js.CKA_LABEL,
  pkcs11js.CKA_KEY_TYPE,
  pkcs11js.CKA_SIGN,
  pkcs11js.CKA_ALWAYS_AUTHENTICATE,
] as const;
const rsaAttributes = [pkcs11js.CKA_MODULUS, pkcs11js.CKA_PUBLIC_EXPONENT] as const;
const ecAttributes = [pkcs11js.CKA_EC_PARAMS, pkcs11js.CKA_EC_POINT] as const;

/** A private key that a session can see. */
export class PrivateKey {
  readonly object: TokenObject;
  readonly #keyType: number | undefined;
  #shown: { readonly publicKey: PublicKey | undefined } | Unusable | undefined;

  /** Reads its attributes. @throws {Unusable} */
  constructor(object: TokenObject) {
    this.object = object.read(privateAttributes);
    this.#keyType = object.getNumber(pkcs11js.CKA_KEY_TYPE);
    if (this.#keyType === pkcs11js.CKK_RSA) object.read(rsaAttributes);
  }

  get handle(): Handle {
    return this.object.handle;
  }

  /** CKA_SIGN. */
  get signs(): boolean {
    return this.object.get(pkcs11js.CKA_SIGN)?.[0] !== 0;
  }

  /** CKA_ALWAYS_AUTHENTICATE. */
  get alwaysAuthenticate(): boolean {
    return this.object.get(pkcs11js.CKA_ALWAYS_AUTHENTICATE)?.[0] === 1;
  }

  /** Whether it has a CKA_ID, and one of these keys' objects has the same. */
  sharesId({ ids }: PublicSide): boolean {
    const { id } = this.object;
    return id.length > 0 && ids.some((other) => other.equals(id));
  }

  /**
   * Its public key, if the token shows that with the private key; read at the first call.
   * @throws {Unusable}
   */
  readPublicKey(): PublicKey | undefined {
    this.#shown ??= this.#tryReadPublicKey();
    if (this.#shown instanceof Unusable) throw this.#shown;
    return this.#shown.publicKey;
  }

  #tryReadPublicKey() {
    try {
      return { publicKey: this.#readPublicKey() };
    } catch (error) {
      if (error instanceof Unusable) return error;
      throw error;
    }
  }

  #readPublicKey(): PublicKey | undefined {
    const { object } = this;
    switch (this.#keyType) {
      case pkcs11js.CKK_RSA: {
        const [modulus, exponent] = rsaAttributes.map((type) => object.get(type));
        if (modulus?.length && exponent?.length) return rsaPublicKey(modulus, exponent);
        break;
      }
      case undefined:
      case pkcs11js.CKK_EC:
      case edwardsKeyType: {
        object.read(ecAttributes);
        const [params, point] = ecAttributes.map((type) => object.get(type));
        if (params?.length && point?.length) return ecPublicKey(params, point, this.#isEdwards);
        break;
      }
      default:
        throw new Unusable("key type not used by SSH");
    }
    const info = object.read([publicKeyInfo]).get(publicKeyInfo);
    return info?.length ? infoPublicKey(info) : undefined;
  }

  /** @returns from what was read so far */
  match(key: PublicSide): Match {
    const { publicKey } = key;
    if (this.#keyType === undefined && !this.sharesId(key)) return "other";
    if (this.#keyType !== undefined && !keyTypes(publicKey).includes(this.#keyType)) return "other";
    if (this.#shown !== undefined && "publicKey" in this.#shown && this.#shown.publicKey) {
      return encodePublicKey(this.#shown.publicKey).equals(encodePublicKey(publicKey))
        ? "same"
        : "other";
    }
    const modulus = this.object.get(pkcs11js.CKA_MODULUS);
    if (publicKey.type === "rsa" && modulus?.length) {
      return trimZeros(modulus).equals(publicKey.n) ? "same" : "other";
    }
    const params = this.object.get(pkcs11js.CKA_EC_PARAMS);
    if (!params?.length) return "possible";
    return curveOf(params, this.#isEdwards) === curveNameOf(publicKey) ? "possible" : "other";
  }

  get #isEdwards(): boolean {
    return this.#keyType === edwardsKeyType;
  }

  /**
   * How badly it suits a public key: the first number that differs decides, and less is better.
   * CKA_ID is first, then the curve, whether it may sign, and the label. Of two keys with one ID, a
   * public key object is likelier than a certificate to be that of the private key.
   */
  distance(key: PublicSide): Distance {
    const { id, label } = this.object;
    const isCurveKnown = this.object.get(pkcs11js.CKA_EC_PARAMS) !== undefined;
    return [
      this.match(key) === "same" ? 0 : 1,
      sameOrUnknown(key.ids.map(hex), hex(id)),
      isCurveKnown ? 0 : 1,
      this.signs ? 0 : 1,
      key.source === "key" ? 0 : 1,
      sameOrUnknown(key.labels, label),
      key.source === "authority" ? 1 : 0,
    ];
  }
}

function hex(bytes: Buffer): string {
  return bytes.toString("hex");
}

/** 0 if the value is among the others, 1 if it or they are missing, 2 if it differs. */
function sameOrUnknown(others: readonly string[], value: string): number {
  if (value !== "" && others.includes(value)) return 0;
  return value === "" || others.every((other) => other === "") ? 1 : 2;
}

/** Compares distances. */
export function compareDistances(one: Distance, other: Distance): number {
  const at = one.findIndex((number, index) => number !== other[index]);
  return at < 0 ? 0 : (one[at] ?? 0) - (other[at] ?? 0);
}

/**
 * The private keys that may belong to a public key, the likeliest first; only those that certainly
 * do, if there are any. What more they show is read only if CKA_ID leaves a choice.
 */
export function rank(key: PublicSide, privates: readonly PrivateKey[]): PrivateKey[] {
  const possible = privates.filter((one) => one.match(key) !== "other");
  const isUnambiguous =
    possible.length === 1 || possible.filter((one) => one.sharesId(key)).length === 1;
  if (!isUnambiguous) for (const one of possible) tryReadPublicKey(one);
  const ranked = possible
    .filter((one) => one.match(key) !== "other")
    .map((one) => ({ one, distance: one.distance(key) }))
    .sort((left, right) => compareDistances(left.distance, right.distance))
    .map(({ one }) => one);
  const same = ranked.filter((one) => one.match(key) === "same");
  return same.length > 0 ? same : ranked;
}

/** Reads the public key of a private key, if it can be read. */
export function tryReadPublicKey(key: PrivateKey): PublicKey | undefined {
  try {
    return key.readPublicKey();
  } catch (error) {
    if (error instanceof Unusable) return undefined;
    throw error;
  }
}

/** The CKK_ values of a key. */
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

function curveNameOf(key: PublicKey): string | undefined {
  if (key.type === "ecdsa") return key.curve;
  return key.type === "ed25519" ? "ed25519" : undefined;
}

/** How private keys are searched and read. */
export const privateKeys: ObjectClass<PrivateKey> = {
  objectClass: pkcs11js.CKO_PRIVATE_KEY,
  name: "private key",
  read: (object) => new PrivateKey(object),
};

/**
 * The private keys that the session sees.
 * @param id a CKA_ID, for those that a search by it finds, as it does with nearly every library;
 *   empty for all
 * @throws the library's error if a search fails, or if no private key can be read
 */
export function findPrivateKeys(cryptoki: Cryptoki, session: Handle, id: Buffer): PrivateKey[] {
  const objects = new TokenObjects(cryptoki, session);
  const seen = id.length > 0 ? findById(objects, id) : searchAll(objects);
  const privates = readAll(seen, privateKeys, []);
  objects.checkPresence();
  return id.length > 0 ? privates.filter(({ object }) => object.id.equals(id)) : privates;
}

/** @returns all private keys if the library cannot search by CKA_ID */
function findById(objects: TokenObjects, id: Buffer): TokenObject[] {
  try {
    return objects.find(privateKeys.objectClass, id);
  } catch {
    return searchAll(objects);
  }
}

/** All private keys; `checkPresence` throws the error if the search failed. */
export function searchAll(objects: TokenObjects): TokenObject[] {
  return objects.search(privateKeys.objectClass, privateKeys.name, []);
}
