/** Memory that was freed with a secret in it, and not cleared. */
import type { LibraryHandle } from "koffi";

/** Clears freed memory, as far as the C library can be told to. */
export interface FreedMemory {
  /**
   * Runs an action in which OpenSSL frees blocks with secrets: its decoders do so with a copy of a
   * key's DER, and with the number in it of an ECDSA key.
   * @param sizes the bytes that were asked for when the blocks were allocated
   */
  clearAfter<Result>(sizes: readonly number[], action: () => Result): Result;
  /**
   * Clears what a socket's last chunk was read into. Node.js copies the chunk from there and frees it,
   * so this has to be called before much else is allocated.
   */
  clearReadBuffer(): void;
}

/** Where the C library clears by itself what is freed, or nothing needs to be clear. */
export const nothingFreed: FreedMemory = {
  clearAfter: (_sizes, action) => action(),
  clearReadBuffer() {},
};

const mPerturb = -6;

/** Blocks of one size that a thread keeps for itself when it frees them: 7, in newer glibc 16. */
const maxKept = 16;
/** A block is this much larger when what would be left beside it is too little for another. */
const blockStep = 16;

/** What libuv reads into. */
const readLength = 64 * 1024;
/** The block may have become a part of a larger free one. */
const readBlocks = 4;

/**
 * glibc fills what is freed with a byte when it is told to, but not the blocks that a thread keeps for
 * its next requests of the same size. Those are taken, cleared and given back.
 */
export function glibcFreedMemory(library: LibraryHandle): FreedMemory {
  const mallopt = library.func("int mallopt(int, int)");
  const malloc = library.func("intptr_t malloc(size_t)");
  const bzero = library.func("void explicit_bzero(intptr_t, size_t)");
  const free = library.func("void free(intptr_t)");
  const clearBlocks = (size: number, count: number) => {
    const blocks = Array.from({ length: count }, () => malloc(size));
    for (const block of blocks) bzero(block, size);
    for (const block of blocks) free(block);
  };
  return {
    clearAfter(sizes, action) {
      mallopt(mPerturb, 0xff);
      try {
        return action();
      } finally {
        for (const size of sizes) {
          clearBlocks(size, maxKept);
          clearBlocks(size + blockStep, maxKept);
        }
        mallopt(mPerturb, 0);
      }
    },
    clearReadBuffer: () => clearBlocks(readLength, readBlocks),
  };
}
