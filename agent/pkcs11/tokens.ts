/** The tokens in a library's slots, and logging in to one. */
import pkcs11js from "pkcs11js";
import type { TokenDescription } from "../../protocol/extensions/list-providers.ts";
import { Failure } from "../../protocol/failure.ts";
import { type Cryptoki, type Handle, libraryFailed, returnValue } from "./cryptoki.ts";
import type { Login } from "./native.ts";
import { loginFailure, pinLocked } from "./refusals.ts";
import { hasFlag, type SlotToken } from "./slot-token.ts";

/** CKF_TOKEN_PRESENT, which the types of `pkcs11js` lack. */
const tokenPresent = 1;

/** CKS_RO_USER_FUNCTIONS and CKS_RW_USER_FUNCTIONS. */
const userStates: ReadonlySet<number> = new Set([1, 3]);

/** Values that say for certain that a slot has no token of use. */
const absent: ReadonlySet<string | undefined> = new Set([
  "CKR_TOKEN_NOT_PRESENT",
  "CKR_TOKEN_NOT_RECOGNIZED",
  "CKR_DEVICE_REMOVED",
  "CKR_SLOT_ID_INVALID",
]);

/** A library that is loaded and initialized. */
export interface Module {
  readonly path: string;
  readonly cryptoki: Cryptoki;
  readonly login: Login;
}

/** How a session was logged in: not at all, with the PIN, or on the token's own PIN pad. */
export type LoginKind = "none" | "pin" | "pad";

/** The initialized tokens in the library's slots. @throws {Failure} no-token, module-crashed */
export function presentTokens({ cryptoki, path }: Module): SlotToken[] {
  const tokens = slotsWithTokens(cryptoki, path)
    .map((slot) => readToken(cryptoki, slot))
    .filter((token) => token !== undefined);
  if (tokens.length === 0) throw new Failure("no-token", `The library ${path} sees no card.`);
  const initialized = tokens.filter((token) => hasFlag(token, pkcs11js.CKF_TOKEN_INITIALIZED));
  if (initialized.length > 0) return initialized;
  const hint = "Initialize the card with its maker's tool.";
  throw new Failure("no-token", `The library ${path} sees no card that is initialized.`, hint);
}

/**
 * The token that a slot holds now, or undefined. A library may fail for a moment at this, as when
 * another program writes to the token, so it is asked again before a token counts as gone.
 */
export function readToken(cryptoki: Cryptoki, slot: Handle): SlotToken | undefined {
  for (let attempt = 0; attempt < 3; attempt++) {
    try {
      const { flags, label, manufacturerID, model, serialNumber } = cryptoki.C_GetTokenInfo(slot);
      const description = {
        label: trimPadding(label),
        manufacturer: trimPadding(manufacturerID),
        model: trimPadding(model),
        serial: trimPadding(serialNumber),
      };
      return { slot, flags, description };
    } catch (error) {
      if (absent.has(returnValue(error))) return undefined;
      pause(20);
    }
  }
  return undefined;
}

/** Where a token is now: in its slot, or in another one since it was put back. */
export function locateToken({ cryptoki, path }: Module, token: SlotToken): SlotToken | undefined {
  const same = ({ description }: SlotToken) => isSame(description, token.description);
  const found = isPresent(cryptoki, token.slot) ? readToken(cryptoki, token.slot) : undefined;
  if (found !== undefined && same(found)) return found;
  return slotsWithTokens(cryptoki, path)
    .map((slot) => readToken(cryptoki, slot))
    .find((candidate) => candidate !== undefined && same(candidate));
}

/**
 * Logs a session in, if the token asks for it. A PIN is tried once; a token that has its own PIN pad
 * asks there. Without a PIN a token stays as it is: what can be seen then is seen.
 * @param pin UTF-8, or empty
 * @throws {Failure} pin-locked, pin-incorrect, pin-last-try, pin-required, user-refused,
 *   token-removed, module-crashed
 */
export function logIn(module: Module, token: SlotToken, session: Handle, pin: Buffer): LoginKind {
  if (!hasFlag(token, pkcs11js.CKF_LOGIN_REQUIRED)) return "none";
  const pad = hasFlag(token, pkcs11js.CKF_PROTECTED_AUTHENTICATION_PATH);
  if (!pad && pin.length === 0) return "none";
  if (hasFlag(token, pkcs11js.CKF_USER_PIN_LOCKED)) throw pinLocked(token);
  try {
    module.login(session, pkcs11js.CKU_USER, pad ? null : pin);
  } catch (error) {
    const value = returnValue(error);
    if (value !== "CKR_USER_ALREADY_LOGGED_IN") {
      throw loginFailure(token, readToken(module.cryptoki, token.slot) ?? token, error);
    }
  }
  return pad ? "pad" : "pin";
}

/** Whether a session is logged in as the token's user. */
export function isLoggedIn({ cryptoki }: Module, session: Handle): boolean {
  try {
    return userStates.has(cryptoki.C_GetSessionInfo(session).state);
  } catch {
    return false;
  }
}

function slotsWithTokens(cryptoki: Cryptoki, path: string): Handle[] {
  try {
    return cryptoki.C_GetSlotList(true);
  } catch (error) {
    throw libraryFailed(`The library ${path} does not list its slots`, error);
  }
}

function isPresent(cryptoki: Cryptoki, slot: Handle): boolean {
  try {
    return (cryptoki.C_GetSlotInfo(slot).flags & tokenPresent) !== 0;
  } catch {
    return false;
  }
}

function isSame(one: TokenDescription, other: TokenDescription): boolean {
  return (
    one.serial === other.serial &&
    one.label === other.label &&
    one.model === other.model &&
    one.manufacturer === other.manufacturer
  );
}

/** PKCS#11 fills its texts with blanks; some libraries end them with a zero byte instead. */
function trimPadding(text: string): string {
  const end = text.indexOf("\0");
  return (end < 0 ? text : text.slice(0, end)).trimEnd();
}

/** Waits where this process may wait. @param ms milliseconds */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
