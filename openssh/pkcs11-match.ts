/** Which tokens and keys a PKCS#11 URI means (RFC 7512, section 2.5). */
import type { TokenDescription } from "../protocol/extensions/list-providers.ts";
import type { KeyObjectType, LibraryVersion, Pkcs11Uri } from "./pkcs11-uri.ts";

/** Where a token is: what the library and the slot say of themselves, texts without padding. */
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

/** What an object of a key has: CKA_ID, CKA_LABEL and CKA_CLASS. */
export interface KeyObject {
  readonly id: Buffer;
  readonly label: string;
  /** Without it the type of a URI is not looked at. */
  readonly type?: KeyObjectType;
}

/**
 * Whether a URI means this token: its label, manufacturer, model and serial number, and with `place`
 * also the library's manufacturer, description and version and the slot's manufacturer, description
 * and ID. Every attribute that the URI has must be the same, byte for byte. Without `place`, a URI
 * that asks for a library or a slot means no token.
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
 * Whether a URI means this object of a key: its CKA_ID and its label, byte for byte, and its class
 * where that is told. The public key, the private key and the certificate of one key may have
 * different labels: the key is meant when one of them is.
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
