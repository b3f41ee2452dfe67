/**
 * A zeroed buffer for a secret. V8 keeps a typed array of up to 64 bytes on its heap, where the garbage
 * collector moves it and leaves copies, so this is a slice of Node.js's pool.
 */
export function secretBytes(length: number): Buffer {
  return Buffer.allocUnsafe(length).fill(0);
}
