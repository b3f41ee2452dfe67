/** Buffers for secrets. */

/**
 * Zeros, for a secret that is overwritten later on. V8 keeps a typed array of up to 64 bytes among
 * its own objects, moves it about and leaves copies, so this is a part of a larger one.
 */
export function secretBytes(length: number): Buffer {
  return Buffer.allocUnsafe(length).fill(0);
}
