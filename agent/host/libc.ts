/**
 * Calls of the C library that Node.js does not have, by `koffi`.
 *
 * Loading koffi takes some milliseconds, so this module is imported only where it is needed.
 */
import { loadKoffi } from "../../openssh/add-ons.ts";
import type { FreedMemory } from "./freed-memory.ts";
import type { FileLimit } from "./inheritance.ts";
import { darwinKernel, linuxKernel, type PeerCredentials } from "./kernel.ts";

/** The calls of the C library. */
export interface Libc {
  /** The peer of a connected Unix socket. @throws if the system does not tell */
  peerCredentials(descriptor: number): PeerCredentials;
  /** The soft limit of open files (RLIMIT_NOFILE). */
  fileLimit(): number;
  /** Duplicates a descriptor, with close-on-exec. @throws if there are no descriptors left */
  duplicate(descriptor: number): number;
  /** Forbids core dumps, and other processes of this user to attach to this one. */
  protectMemory(): void;
  /**
   * Has blocks of several megabytes returned to the system when they are freed. By default glibc keeps
   * them in the arena of each thread, where malloc_trim does not reach them.
   */
  returnLargeBlocks(): void;
  /** The bytes of this process's data in memory. */
  residentData(): number;
  /**
   * Returns freed memory to the system, where the C library does not do that itself, and the pages of the
   * program that are not used now.
   */
  releaseMemory(): void;
  readonly freedMemory: FreedMemory;
  /**
   * Replaces this process by a command, which is searched for in PATH.
   * @param descriptors the descriptors that it inherits, beside the standard ones
   * @param fileLimit its limit of open files; undefined for this process's
   * @returns the error's strerror(3), if it fails
   */
  execute(
    command: string,
    args: readonly string[],
    descriptors: readonly number[],
    fileLimit: FileLimit | undefined,
  ): string;
}

const rlimitCore = 4;
const sigpipe = 13;
const fSetfd = 2;

/** The limit of open files if getrlimit fails. */
const defaultFileLimit = 256;

/** Loads the C library. @throws if it is not found */
export function loadLibc(): Libc {
  const koffi = loadKoffi();
  const isMac = process.platform === "darwin";
  const library = koffi.load(isMac ? "libSystem.dylib" : "libc.so.6");
  const kernel = isMac ? darwinKernel(library) : linuxKernel(library);
  let fcntl: ReturnType<typeof library.func> | undefined;
  const setrlimit = library.func("int setrlimit(int, const uint64_t *)");
  return {
    peerCredentials: (descriptor) => kernel.peerCredentials(descriptor),
    fileLimit() {
      const limits = Buffer.alloc(16);
      const getrlimit = library.func("int getrlimit(int, _Out_ uint8_t *)");
      if (getrlimit(kernel.fileLimit, limits) !== 0) return defaultFileLimit;
      return Number(limits.readBigUInt64LE());
    },
    duplicate(descriptor) {
      fcntl ??= library.func("int fcntl(int, int, ...)");
      const copy: number = fcntl(descriptor, kernel.duplicateDescriptor, "int", 0);
      if (copy < 0) throw new Error("There are no descriptors left.");
      return copy;
    },
    protectMemory() {
      kernel.forbidAttaching();
      setrlimit(rlimitCore, [0, 0]);
    },
    returnLargeBlocks() {
      kernel.returnLargeBlocks();
    },
    residentData: () => kernel.residentData(),
    releaseMemory() {
      kernel.releaseMemory();
    },
    freedMemory: kernel.freedMemory,
    execute(command, args, descriptors, fileLimit) {
      const signal = library.func("void *signal(int, intptr_t)");
      fcntl ??= library.func("int fcntl(int, int, ...)");
      const execvp = library.func("int execvp(const char *, const char **)");
      // Undo what Node.js does: it ignores SIGPIPE, and sets close-on-exec on descriptors.
      signal(sigpipe, 0);
      for (const descriptor of [0, 1, 2, ...descriptors]) fcntl(descriptor, fSetfd, "int", 0);
      if (fileLimit !== undefined) setrlimit(kernel.fileLimit, [fileLimit.soft, fileLimit.hard]);
      execvp(command, [command, ...args, null]);
      const strerror = library.func("const char *strerror(int)");
      return strerror(koffi.errno());
    },
  };
}
