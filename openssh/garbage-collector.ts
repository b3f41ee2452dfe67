/**
 * Explicit garbage collection: OpenSSL overwrites a key only when its last `KeyObject` is collected.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * Returns a function that collects garbage synchronously, which takes some milliseconds; with `minor`,
 * only recent allocations.
 */
export function garbageCollector(): GarbageCollector {
  let gc: GarbageCollector | undefined;
  return (...options) => {
    gc ??= exposeGc();
    gc(...options);
  };
}

type GarbageCollector = (...options: { type: "minor" }[]) => void;

/** V8 exposes `gc` only in contexts created after the flag is set. */
function exposeGc(): GarbageCollector {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("gc");
  if (typeof gc !== "function") throw new TypeError("V8 has no gc.");
  return (...options) => gc(...options);
}
