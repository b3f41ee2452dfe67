/** Clears secrets from memory that other code has freed without clearing it. */
import { writeSync } from "node:fs";
import { Socket } from "node:net";
import type { LibraryHandle } from "koffi";
import { openPipe } from "../../openssh/secret-input.ts";

/** Clears freed memory. */
export interface FreedMemory {
  /**
   * Runs an action that frees blocks with secrets, and clears them. OpenSSL's decoders free a copy of a
   * key's DER, and the scalar of an ECDSA key.
   * @param sizes the sizes that the blocks were allocated with, in bytes
   */
  clearAfter<Result>(sizes: readonly number[], action: () => Result): Result;
  /**
   * Clears libuv's buffer for the last chunk of a socket, from which Node.js copies the chunk. Node.js 20
   * and 22 free it, so call this before much else is allocated; newer ones keep it for the next read.
   */
  clearReadBuffer(): void;
}

/** Clears nothing: for tests, and for C libraries that clear memory on free. */
export const nothingFreed: FreedMemory = {
  clearAfter: (_sizes, action) => action(),
  clearReadBuffer() {},
};

const mPerturb = -6;

/** Freed blocks of one size in a thread's cache (tcache_count): 7, in newer glibc 16. */
const maxCached = 16;

/** The length of libuv's read buffer. */
const readLength = 64 * 1024;
/** Blocks to clear for it: the freed buffer may have been merged into a larger free block. */
const readBlocks = 4;

/**
 * Clears memory that glibc has freed. With M_PERTURB it overwrites blocks on free, except those that
 * go to the thread's cache (tcache). Those are allocated again, cleared and freed. The cache is filled
 * before, so that a secret gets a block of its own size: it could get a larger one otherwise, which the
 * text of an error would get next, and keep, with most of the secret behind the text.
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
  const clearCached = (sizes: readonly number[]) => {
    for (const size of sizes) clearBlocks(size, maxCached);
  };
  let readZeros: (() => void) | undefined;
  return {
    clearAfter(sizes, action) {
      clearCached(sizes);
      mallopt(mPerturb, 0xff);
      try {
        return action();
      } finally {
        clearCached(sizes);
        mallopt(mPerturb, 0);
      }
    },
    clearReadBuffer() {
      clearBlocks(readLength, readBlocks);
      readZeros ??= zeroReader();
      readZeros();
    },
  };
}

const nonBlocking = 0o4000;

/** Makes a function that has Node.js read a buffer full of zeros, from a pipe of our own. */
function zeroReader(): () => void {
  const pipe = openPipe(nonBlocking);
  if (pipe === undefined) return () => {};
  const [output, input] = pipe;
  new Socket({ fd: output, readable: true, writable: false }).resume().unref();
  const zeros = Buffer.alloc(readLength);
  return () => {
    try {
      writeSync(input, zeros);
    } catch {
      // The pipe is full: zeros are about to be read.
    }
  };
}
