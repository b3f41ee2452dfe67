/**
 * Explicit garbage collection: OpenSSL overwrites a key only when its last `KeyObject` is collected.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * Returns a function that collects garbage synchronously, which takes some milliseconds; with `minor`,
 * only recent allocations.
 */
export function garbageCollector(): (options?: { type: "minor" }) => void {
  let collect: ((...options: { type: "minor" }[]) => void) | undefined;
  return (options) => {
    collect ??= exposeCollector();
    if (options === undefined) collect();
    else collect(options);
  };
}

/** V8 exposes `gc` only in contexts created after the flag is set. */
function exposeCollector(): (...options: { type: "minor" }[]) => void {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("gc");
  if (typeof gc !== "function") throw new TypeError("V8 has no gc.");
  return (...options) => gc(...options);
}
