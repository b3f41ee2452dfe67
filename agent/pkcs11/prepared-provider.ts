/** A process that gets ready for a library, before a client has said that it is to be added. */
import type { Helper } from "./helper.ts";

/** Milliseconds that a library has to end which was prepared in vain. */
const abandonTime = 1000;

/** A process in which a library is started, and nothing more is done. */
export interface PreparedProvider {
  /** The canonical path of the library. */
  readonly library: string;
  readonly helper: Helper;
}

/** Ends what was prepared in vain. */
export function abandon(prepared: PreparedProvider | undefined): void {
  void prepared?.helper.close(abandonTime);
}
