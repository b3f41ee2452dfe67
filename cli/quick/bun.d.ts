/** Types for the parts of bun that are used. */
declare module "bun:ffi" {
  type Value = "i32" | "ptr" | "u32" | "usize" | "i64_fast";

  /** Loads functions of a C library. A buffer is passed as a pointer to its first byte, null as 0. */
  export function dlopen<const Functions extends string>(
    library: string,
    functions: Readonly<
      Record<Functions, { readonly args: readonly Value[]; readonly returns: Value }>
    >,
  ): {
    readonly symbols: Readonly<
      Record<Functions, (...args: readonly (number | NodeJS.ArrayBufferView | null)[]) => number>
    >;
  };
  /** The address of a buffer's first byte. */
  export function ptr(buffer: NodeJS.ArrayBufferView): number;
  /** Reads memory at an address. */
  export const read: {
    i32(pointer: number, offset: number): number;
    ptr(pointer: number, offset: number): number;
  };
}

declare const Bun: {
  /** Runs a program. `exitCode` is null if a signal has ended it. */
  spawnSync(
    command: readonly string[],
    options: { readonly stdio: readonly ["inherit", "inherit", "inherit"] },
  ): { readonly exitCode: number | null };
  readonly CryptoHasher: new (algorithm: string) => import("node:crypto").Hash;
};
