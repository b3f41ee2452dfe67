/** Keys within OpenSSL, which nothing but a garbage collection overwrites. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

let collect: ((options: { type: "minor" }) => void) | undefined;

/** Collects what was made a moment ago and is not used any more: OpenSSL overwrites it then. */
export function forgetKeyObjects(): void {
  if (collect === undefined) {
    setFlagsFromString("--expose-gc");
    collect = runInNewContext("gc");
  }
  collect?.({ type: "minor" });
}
