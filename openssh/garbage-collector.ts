/**
 * Garbage collections that a program asks for. OpenSSL overwrites a key when the last `KeyObject` of
 * it has been collected, and not before.
 */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/**
 * Makes a function that collects garbage at once, some milliseconds in which nothing else runs: all of
 * it, or with `minor` only what was made a moment ago.
 */
export function garbageCollector(): (options?: { type: "minor" }) => void {
  let collect: ((...options: { type: "minor" }[]) => void) | undefined;
  return (options) => {
    collect ??= exposeCollector();
    if (options === undefined) collect();
    else collect(options);
  };
}

/** V8 gives `gc` to new contexts only. */
function exposeCollector(): (...options: { type: "minor" }[]) => void {
  setFlagsFromString("--expose-gc");
  const gc: unknown = runInNewContext("gc");
  if (typeof gc !== "function") throw new TypeError("V8 has no gc.");
  return (...options) => gc(...options);
}
