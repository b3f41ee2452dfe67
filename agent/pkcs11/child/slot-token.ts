/** A token as it was found in a slot. */

import type { TokenDescription } from "../../../protocol/extensions/list-providers.ts";
import { pkcs11js } from "./add-on.ts";
import type { Handle } from "./cryptoki.ts";

/** A token in a slot, and the CKF_ flags that it had when it was read. */
export interface SlotToken {
  readonly slot: Handle;
  readonly flags: number;
  readonly description: TokenDescription;
}

/** Whether a token has a CKF_ flag. */
export function hasFlag(token: Pick<SlotToken, "flags">, flag: number): boolean {
  return (token.flags & flag) !== 0;
}

/** The CKF_ flags that tell of wrong PINs. */
export const wrongPinFlags =
  pkcs11js.CKF_USER_PIN_COUNT_LOW | pkcs11js.CKF_USER_PIN_FINAL_TRY | pkcs11js.CKF_USER_PIN_LOCKED;

/** Whether a token was given a wrong PIN since the last right one, as far as it says so. */
export function hasSeenWrongPin(token: Pick<SlotToken, "flags">): boolean {
  return hasFlag(token, wrongPinFlags);
}

/** A token as sentences name it: its label, or its serial number. */
export function tokenName({ label, serial }: TokenDescription): string {
  return JSON.stringify(label || serial);
}
