/** In place of `node:crypto`, which takes bun as long to load as it takes to start. */
import type { Hash } from "node:crypto";

export const createHash = (algorithm: string): Hash => new Bun.CryptoHasher(algorithm);
