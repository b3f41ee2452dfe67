/**
 * Native add-ons, by the shortest way.
 *
 * A package that holds an add-on wraps it: it looks at the machine, keeps older names, makes errors
 * of its own. Loading koffi or pkcs11js so takes several times as long as loading its add-on, and
 * more memory. What is used of them here is the add-on's own, which is loaded from its place in the
 * package; where it is not there, the package itself knows.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { createRequire } from "node:module";
import type koffi from "koffi";

/** What is used of koffi. */
export type Koffi = Pick<
  typeof koffi,
  "config" | "decode" | "errno" | "load" | "proto" | "sizeof" | "types"
>;

const requireFromHere = createRequire(import.meta.url);

/**
 * Loads an add-on, or whatever a package exports.
 * @param name as for `require`
 * @returns undefined when it cannot be loaded
 */
export function tryAddOn(name: string): unknown {
  try {
    return requireFromHere(name);
  } catch {
    return undefined;
  }
}

/** Loads koffi. @throws when it is not installed */
export function loadKoffi(): Koffi {
  const { platform, arch } = process;
  const machine = `${platform}_${arch}`;
  if (platform !== "linux" || isForGlibc()) {
    const addOn = tryAddOn(`@koromix/koffi-${platform}-${arch}/${machine}/koffi.node`);
    if (isKoffi(addOn)) return addOn;
  }
  const whole = tryAddOn("koffi");
  if (isKoffi(whole)) return whole;
  throw new Error(
    "The add-on of the package koffi cannot be loaded. Install cardagent again, on this machine and with this Node.js.",
  );
}

function isKoffi(value: unknown): value is Koffi {
  const names = ["config", "decode", "errno", "load", "proto", "sizeof"] as const;
  if (typeof value !== "object" || value === null) return false;
  const functions: Partial<Record<string, unknown>> = { ...value };
  return names.every((name) => typeof functions[name] === "function") && "types" in value;
}

/** Whether this Node.js stands on the GNU C library, by the loader that its file names. */
function isForGlibc(): boolean {
  const start = Buffer.alloc(4096);
  const file = openSync(process.execPath, "r");
  try {
    return start.toString("latin1", 0, readSync(file, start)).includes("/ld-linux");
  } finally {
    closeSync(file);
  }
}
