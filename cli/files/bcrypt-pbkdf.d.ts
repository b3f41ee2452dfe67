/** The one function of `bcrypt-pbkdf` that is used here; the package has no types of its own. */
declare module "bcrypt-pbkdf" {
  const bcrypt: {
    /** Fills `key`. @returns 0, or -1 when a length is zero or too long */
    pbkdf(
      pass: Uint8Array,
      passLength: number,
      salt: Uint8Array,
      saltLength: number,
      key: Uint8Array,
      keyLength: number,
      rounds: number,
    ): number;
  };
  export default bcrypt;
}
