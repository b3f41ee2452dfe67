/** What the parts of a PKCS#11 URI are called (RFC 7512, section 2.3). */

/** What every PKCS#11 URI begins with. */
export const scheme = "pkcs11:";

/** The attributes that say what is meant, in the order of the standard's grammar. */
export const pathAttributes = [
  "token",
  "manufacturer",
  "serial",
  "model",
  "library-manufacturer",
  "library-version",
  "library-description",
  "object",
  "type",
  "id",
  "slot-manufacturer",
  "slot-description",
  "slot-id",
] as const;

/** The attributes that say how to get there; those about PINs are not taken. */
export const queryAttributes = ["module-name", "module-path"] as const;

/** The name of an attribute that is taken. */
export type AttributeName = (typeof pathAttributes)[number] | (typeof queryAttributes)[number];
