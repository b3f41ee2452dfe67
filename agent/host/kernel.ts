/** The calls in which Linux and macOS differ. Those for macOS are not tested. */
import type { LibraryHandle } from "koffi";
import { type FreedMemory, glibcFreedMemory, nothingFreed } from "./freed-memory.ts";
import { residentData, unmapProgramPages } from "./resident-memory.ts";

/** The credentials of the process at the other end of a Unix socket. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
}

/** The calls of one kernel; see `Libc`. */
interface Kernel {
  /** The value of RLIMIT_NOFILE. */
  readonly fileLimit: number;
  /** The value of F_DUPFD_CLOEXEC. */
  readonly duplicateDescriptor: number;
  peerCredentials(descriptor: number): PeerCredentials;
  /** Forbids other processes of this user to attach to this one. */
  forbidAttaching(): void;
  returnLargeBlocks(): void;
  residentData(): number;
  releaseMemory(): void;
  readonly freedMemory: FreedMemory;
}

const noCredentials = "The socket has no peer credentials.";
const getsockoptPrototype =
  "int getsockopt(int, int, int, _Out_ uint8_t *value, _Inout_ uint32_t *length)";

/** Smaller than scrypt's memory for a passphrase, larger than clients' messages. */
const largeBlock = 4 * 1024 * 1024;

const linux = {
  mMmapThreshold: -3,
  solSocket: 1,
  soPeercred: 17,
  prSetDumpable: 4,
  rlimitNofile: 7,
  dupfdCloexec: 1030,
};

/** Linux: SO_PEERCRED gives a process, a user and a group. */
export function linuxKernel(library: LibraryHandle): Kernel {
  const getsockopt = library.func(getsockoptPrototype);
  return {
    fileLimit: linux.rlimitNofile,
    duplicateDescriptor: linux.dupfdCloexec,
    peerCredentials(descriptor) {
      const value = Buffer.alloc(12);
      if (getsockopt(descriptor, linux.solSocket, linux.soPeercred, value, [value.length]) !== 0) {
        throw new Error(noCredentials);
      }
      return { pid: value.readInt32LE(0), uid: value.readUInt32LE(4) };
    },
    forbidAttaching() {
      const prctl = library.func(
        "int prctl(int, unsigned long, unsigned long, unsigned long, unsigned long)",
      );
      prctl(linux.prSetDumpable, 0, 0, 0, 0);
    },
    returnLargeBlocks() {
      // Setting the threshold keeps glibc from raising it to the largest block that was ever freed.
      library.func("int mallopt(int, int)")(linux.mMmapThreshold, largeBlock);
    },
    residentData,
    releaseMemory() {
      library.func("int malloc_trim(size_t)")(0);
      void unmapProgramPages(library);
    },
    freedMemory: glibcFreedMemory(library),
  };
}

const darwin = {
  solLocal: 0,
  localPeerPid: 2,
  ptDenyAttach: 31,
  rlimitNofile: 8,
  dupfdCloexec: 67,
};

/** macOS: the user by getpeereid, the process by LOCAL_PEERPID. */
export function darwinKernel(library: LibraryHandle): Kernel {
  const getsockopt = library.func(getsockoptPrototype);
  const getpeereid = library.func("int getpeereid(int, _Out_ uint32_t *uid, _Out_ uint32_t *gid)");
  return {
    fileLimit: darwin.rlimitNofile,
    duplicateDescriptor: darwin.dupfdCloexec,
    peerCredentials(descriptor) {
      const uid = [0];
      if (getpeereid(descriptor, uid, [0]) !== 0) throw new Error(noCredentials);
      const value = Buffer.alloc(4);
      getsockopt(descriptor, darwin.solLocal, darwin.localPeerPid, value, [value.length]);
      return { pid: value.readInt32LE(0), uid: uid[0] ?? -1 };
    },
    forbidAttaching() {
      const ptrace = library.func("int ptrace(int, int, void *, int)");
      ptrace(darwin.ptDenyAttach, 0, null, 0);
    },
    returnLargeBlocks() {},
    residentData: process.memoryUsage.rss,
    releaseMemory() {},
    freedMemory: nothingFreed,
  };
}
