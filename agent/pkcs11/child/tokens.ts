/** The tokens in a library's slots, and logging in to one. */
import { sanitizeName } from "../../../openssh/text-for-display.ts";
import type { TokenDescription } from "../../../protocol/extensions/list-providers.ts";
import { Failure } from "../../../protocol/failure.ts";
import type { LoginKind } from "../inventory.ts";
import { pkcs11js } from "./add-on.ts";
import { type Cryptoki, type Handle, libraryFailed, returnValue } from "./cryptoki.ts";
import type { Module } from "./module.ts";
import { loginFailure, pinLocked } from "./refusals.ts";
import { hasFlag, type SlotToken } from "./slot-token.ts";

/** CKS_RO_USER_FUNCTIONS and CKS_RW_USER_FUNCTIONS. */
const userStates: ReadonlySet<number> = new Set([1, 3]);

/** Values that say for certain that a slot has no token of use. */
const absent: ReadonlySet<string | undefined> = new Set([
  "CKR_TOKEN_NOT_PRESENT",
  "CKR_TOKEN_NOT_RECOGNIZED",
  "CKR_DEVICE_REMOVED",
  "CKR_SLOT_ID_INVALID",
]);

/** The initialized tokens in the library's slots. @throws {Failure} no-token, module-crashed */
export function presentTokens({ cryptoki, path }: Module): SlotToken[] {
  const slots = slotsWithTokens(cryptoki, path).map((slot) => lookInto(cryptoki, slot));
  const tokens = slots.map(({ token }) => token).filter((token) => token !== undefined);
  if (tokens.length === 0) {
    const unread = slots.find(({ error }) => error !== undefined);
    if (unread === undefined) throw new Failure("no-token", `The library ${path} sees no card.`);
    const sentence = `The library ${path} sees a card and fails to read it`;
    const { code, message } = libraryFailed(sentence, unread.error);
    throw new Failure(code, message, "Pull the card out, put it in, and try again.");
  }
  const initialized = tokens.filter((token) => hasFlag(token, pkcs11js.CKF_TOKEN_INITIALIZED));
  if (initialized.length > 0) return initialized;
  const hint = "Initialize the card with its maker's tool.";
  throw new Failure("no-token", `The library ${path} sees no card that is initialized.`, hint);
}

/** The token that a slot holds now; undefined when it has none, or when that cannot be read. */
export function readToken(cryptoki: Cryptoki, slot: Handle): SlotToken | undefined {
  return lookInto(cryptoki, slot).token;
}

/** What a slot holds: a token, nothing, or what ends in an error. */
interface SlotContent {
  readonly token?: SlotToken;
  readonly error?: unknown;
}

/**
 * Reads the token in a slot. A library may fail for a moment at this, as when another program writes
 * to the token, so it is asked again before it is believed.
 */
function lookInto(cryptoki: Cryptoki, slot: Handle): SlotContent {
  for (let attempt = 1; ; attempt++) {
    try {
      const { flags, label, manufacturerID, model, serialNumber } = cryptoki.C_GetTokenInfo(slot);
      const description = {
        label: trimPadding(label),
        manufacturer: trimPadding(manufacturerID),
        model: trimPadding(model),
        serial: trimPadding(serialNumber),
      };
      return { token: { slot, flags, description } };
    } catch (error) {
      if (absent.has(returnValue(error))) return {};
      if (attempt === 3) return { error };
      pause(20);
    }
  }
}

/** What was found where a token used to be, or elsewhere. */
export interface Located {
  /** The token, in its slot or in another one since it was put back. */
  readonly token: SlotToken | undefined;
  /** Whether another token is where it was. */
  readonly isReplaced: boolean;
  /** Whether the library sees no token at all. */
  readonly isBlind: boolean;
}

/**
 * Looks for a token. The slots are listed each time: some libraries notice by nothing else that a
 * card was pulled out.
 * @param slot where it was
 */
export function locateToken(
  { cryptoki, path }: Module,
  description: TokenDescription,
  slot: Handle,
): Located {
  const slots = slotsWithTokens(cryptoki, path);
  const own = slots.find((candidate) => slot.equals(candidate));
  const there = own && readToken(cryptoki, own);
  if (there !== undefined && isSame(there.description, description)) {
    return { token: there, isReplaced: false, isBlind: false };
  }
  const others = slots
    .filter((candidate) => candidate !== own)
    .map((candidate) => readToken(cryptoki, candidate))
    .filter((candidate) => candidate !== undefined);
  const token = others.find((candidate) => isSame(candidate.description, description));
  const isReplaced = token === undefined && there !== undefined;
  return { token, isReplaced, isBlind: others.length === 0 && there === undefined };
}

/** How a token lets its keys be used. */
export function loginKind(token: SlotToken): LoginKind {
  if (!hasFlag(token, pkcs11js.CKF_LOGIN_REQUIRED)) return "none";
  return hasFlag(token, pkcs11js.CKF_PROTECTED_AUTHENTICATION_PATH) ? "protected-path" : "pin";
}

/**
 * Logs a session in as the token's user. A PIN is tried once; a token that has its own PIN pad asks
 * there.
 * @param pin UTF-8, or null for the token's own PIN pad
 * @returns whether it was looked at: a token whose user is logged in already does not
 * @throws {Failure} pin-locked, pin-incorrect, pin-last-try, pin-required, user-refused,
 *   token-removed, module-crashed
 */
export async function logIn(
  module: Module,
  token: SlotToken,
  session: Handle,
  pin: Buffer | null,
): Promise<boolean> {
  if (hasFlag(token, pkcs11js.CKF_USER_PIN_LOCKED)) throw pinLocked(token);
  try {
    await module.login(session, pkcs11js.CKU_USER, pin);
    return true;
  } catch (error) {
    if (returnValue(error) === "CKR_USER_ALREADY_LOGGED_IN") return false;
    const now = readToken(module.cryptoki, token.slot);
    throw loginFailure(token.description, now, error);
  }
}

/** Whether a session is logged in as the token's user. */
export function isLoggedIn({ cryptoki }: Module, session: Handle): boolean {
  try {
    return userStates.has(cryptoki.C_GetSessionInfo(session).state);
  } catch {
    return false;
  }
}

/** They are counted, then listed; when a card is put in between, that is done anew. */
function slotsWithTokens(cryptoki: Cryptoki, path: string, tries = 10): Handle[] {
  try {
    return cryptoki.C_GetSlotList(true);
  } catch (error) {
    if (returnValue(error) === "CKR_BUFFER_TOO_SMALL" && tries > 1) {
      return slotsWithTokens(cryptoki, path, tries - 1);
    }
    const { code, message } = libraryFailed(`The library ${path} does not list its slots`, error);
    throw new Failure(code, message, "Check the reader and, for smart cards, whether pcscd runs.");
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
export function trimPadding(text: string): string {
  const end = text.indexOf("\0");
  return sanitizeName((end < 0 ? text : text.slice(0, end)).trimEnd());
}

/** Waits where this process may wait. @param ms milliseconds */
function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
