/** A process that gets ready for a library, before a client has said that it is to be added. */
import type { Helper } from "./helper.ts";

/** A process in which a library is started, and nothing more is done. */
export interface PreparedProvider {
  /** The canonical path of the library. */
  readonly library: string;
  readonly helper: Helper;
}
