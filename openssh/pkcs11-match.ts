/** Matching tokens and keys with a PKCS#11 URI (RFC 7512, section 2.5). */
import type { TokenDescription } from "../protocol/extensions/list-providers.ts";
import type { KeyObjectType, LibraryVersion, Pkcs11Uri } from "./pkcs11-uri.ts";

/** A token's library and slot. Texts have no padding. */
export interface TokenPlace {
  /** CK_INFO. */
  readonly library: {
    readonly manufacturer: string;
    readonly description: string;
    readonly version: LibraryVersion;
  };
  /** CK_SLOT_ID and CK_SLOT_INFO. */
  readonly slot: {
    readonly id: bigint;
    readonly manufacturer: string;
    readonly description: string;
  };
}

/** An object of a key: CKA_ID, CKA_LABEL and CKA_CLASS. */
export interface KeyObject {
  readonly id: Buffer;
  readonly label: string;
  /** If undefined, a URI of any type matches. */
  readonly type?: KeyObjectType;
}

/**
 * Whether a URI matches a token: each of its token, library and slot attributes must be equal, byte
 * for byte. Without `place`, a URI with a library or slot attribute matches no token.
 */
export function matchesToken(uri: Pkcs11Uri, token: TokenDescription, place?: TokenPlace): boolean {
  return (
    isSame(uri.token, token.label) &&
    isSame(uri.manufacturer, token.manufacturer) &&
    isSame(uri.model, token.model) &&
    isSame(uri.serial, token.serial) &&
    isSame(uri.libraryManufacturer, place?.library.manufacturer) &&
    isSame(uri.libraryDescription, place?.library.description) &&
    isSame(uri.libraryVersion?.major, place?.library.version.major) &&
    isSame(uri.libraryVersion?.minor, place?.library.version.minor) &&
    isSame(uri.slotManufacturer, place?.slot.manufacturer) &&
    isSame(uri.slotDescription, place?.slot.description) &&
    isSame(uri.slotId, place?.slot.id)
  );
}

/**
 * Whether a URI matches an object by CKA_ID and label, byte for byte, and class, if known. A URI
 * matches a key if it matches its public key, private key or certificate object, which may have
 * different labels.
 */
export function matchesKey(uri: Pkcs11Uri, key: KeyObject): boolean {
  return (
    isSame(uri.object, key.label) &&
    (uri.id === undefined || uri.id.equals(key.id)) &&
    (key.type === undefined || isSame(uri.type, key.type))
  );
}

/** An absent attribute matches anything. */
function isSame<Value extends string | number | bigint>(
  asked: Value | undefined,
  actual: Value | undefined,
): boolean {
  return asked === undefined || asked === actual;
}
