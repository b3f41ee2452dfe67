/** Having a token's sessions again: what is wanted, and what comes of it. */
import type { Failure } from "../../../protocol/failure.ts";
import type { Handle } from "./cryptoki.ts";
import type { SessionPool } from "./session-pool.ts";
import type { SlotToken } from "./slot-token.ts";

/** How a token's sessions are had again. */
export interface Renewal {
  /** The sessions that did not work, if there were any. */
  readonly failed: SessionPool | undefined;
  /**
   * What to do besides opening sessions: log in also when the library says that this was done, since
   * the card may have forgotten it; or start the library again, which may have lost the card.
   */
  readonly also: "nothing" | "login" | "restart";
  /** The PIN for a login, or empty. */
  readonly pin: Buffer;
}

/** Why a token was not to be had. */
export interface Missed {
  readonly failure: Failure;
  /** Whether the token may have seen the PIN all the same. */
  readonly isPinInDoubt: boolean;
}

/** A token that was found in its slot, and the first session with it. */
export interface Opened {
  readonly found: SlotToken;
  readonly session: Handle;
}
