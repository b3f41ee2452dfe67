/**
 * Loads koffi's native add-on without the package's JavaScript.
 *
 * Loading the package takes more memory and several times as long as loading the add-on. The programs
 * use only the add-on's own exports, so they load its file from the package for this machine, or the
 * package koffi if that file is missing: there npm has compiled it.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { createRequire } from "node:module";
import type koffi from "koffi";

/** The part of koffi that is used. */
type Koffi = Pick<
  typeof koffi,
  "address" | "config" | "decode" | "errno" | "load" | "proto" | "sizeof" | "types"
>;

const requireFromHere = createRequire(import.meta.url);

/** The exports of an add-on's file or a package; undefined if it cannot be loaded. */
function tryAddOn(name: string): unknown {
  try {
    return requireFromHere(name);
  } catch {
    return undefined;
  }
}

/** Loads koffi. @throws if it is not installed */
export function loadKoffi(): Koffi {
  const { platform, arch } = process;
  const machine = `${platform}_${arch}`;
  if (platform !== "linux" || isForGlibc()) {
    const addOn = tryAddOn(`@koromix/koffi-${platform}-${arch}/${machine}/koffi.node`);
    if (isKoffi(addOn)) return addOn;
  }
  const packageExports = tryAddOn("koffi");
  if (isKoffi(packageExports)) return packageExports;
  throw new Error("Cannot load koffi's native add-on. Reinstall cardagent on this machine.");
}

function isKoffi(value: unknown): value is Koffi {
  const names = ["address", "config", "decode", "errno", "load", "proto", "sizeof"] as const;
  if (typeof value !== "object" || value === null) return false;
  const functions: Partial<Record<string, unknown>> = { ...value };
  return names.every((name) => typeof functions[name] === "function") && "types" in value;
}

/** Whether this Node.js is linked to glibc, by the dynamic loader (PT_INTERP) of its executable. */
function isForGlibc(): boolean {
  const start = Buffer.alloc(4096);
  const file = openSync(process.execPath, "r");
  try {
    return start.toString("latin1", 0, readSync(file, start)).includes("/ld-linux");
  } finally {
    closeSync(file);
  }
}
