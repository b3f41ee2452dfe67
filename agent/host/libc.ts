/**
 * The few calls of the C library that Node.js does not have, by `koffi`.
 *
 * Loading it takes a few milliseconds, so this module is imported only where it is needed.
 */
import { loadKoffi } from "./add-ons.ts";
import type { FreedMemory } from "./freed-memory.ts";
import type { FileLimit } from "./inheritance.ts";
import { darwinKernel, linuxKernel } from "./kernel.ts";

/** The credentials of the process at the other end of a Unix socket. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
}

/** The C library's functions that are used here. */
export interface Libc {
  /** Who is at the other end of a connected Unix socket. @throws when that cannot be told */
  peerCredentials(descriptor: number): PeerCredentials;
  /** How many files this process may have open. */
  fileLimit(): number;
  /** Another descriptor for the same file, which programs that are run do not get. @throws */
  duplicate(descriptor: number): number;
  /** No core dumps, and no other process of this user may attach to this one. */
  protectMemory(): void;
  /**
   * From now on, blocks of megabytes go back to the system when they are freed. Otherwise glibc keeps
   * them for each thread that has had one, and malloc_trim does not reach them.
   */
  returnLargeBlocks(): void;
  /** Gives memory that was freed back to the system. Nothing where the C library does that itself. */
  releaseMemory(): void;
  readonly freedMemory: FreedMemory;
  /**
   * Replaces this process by a command that is searched in PATH.
   * @param descriptors the descriptors that it gets, beside the standard ones
   * @param fileLimit its limit of open files; undefined for this process's
   * @returns only if that fails: the system's words for why
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

/** The limit of open files where the system does not tell it. */
const usualFileLimit = 256;

/** Loads the C library. @throws when there is none of a known name */
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
      if (getrlimit(kernel.fileLimit, limits) !== 0) return usualFileLimit;
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
    releaseMemory() {
      kernel.releaseMemory();
    },
    freedMemory: kernel.freedMemory,
    execute(command, args, descriptors, fileLimit) {
      const signal = library.func("void *signal(int, intptr_t)");
      fcntl ??= library.func("int fcntl(int, int, ...)");
      const execvp = library.func("int execvp(const char *, const char **)");
      // Node.js ignores SIGPIPE and has the descriptors closed on exec: both undone here.
      signal(sigpipe, 0);
      for (const descriptor of [0, 1, 2, ...descriptors]) fcntl(descriptor, fSetfd, "int", 0);
      if (fileLimit !== undefined) setrlimit(kernel.fileLimit, [fileLimit.soft, fileLimit.hard]);
      execvp(command, [command, ...args, null]);
      const strerror = library.func("const char *strerror(int)");
      return strerror(koffi.errno());
    },
  };
}
