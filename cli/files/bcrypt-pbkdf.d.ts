/** Types for `bcrypt-pbkdf`, which has none. */
declare module "bcrypt-pbkdf" {
  const bcrypt: {
    /** bcrypt of 64 bytes and 64 bytes of salt into 32 bytes. */
    hash(pass: Uint8Array, salt: Uint8Array, out: Uint8Array): void;
    /** Fills `key`. @returns 0, or -1 for an invalid length */
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
