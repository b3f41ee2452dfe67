/** The slots of a library and the tokens in them: how they are listed, and known again. */
import { sanitizeName } from "../../../openssh/text-for-display.ts";
import type { TokenDescription } from "../../../protocol/extensions/list-providers.ts";
import { Failure } from "../../../protocol/failure.ts";
import type { LoginKind } from "../messages.ts";
import { type Cryptoki, type Handle, libraryFailed, pkcs11js, returnValue } from "./cryptoki.ts";

/** A token in a slot, and the CKF_ flags that it had when it was read. */
export interface SlotToken {
  readonly slot: Handle;
  readonly flags: number;
  readonly description: TokenDescription;
}

/** A library that has slots. */
interface Slots {
  readonly cryptoki: Cryptoki;
  readonly path: string;
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

/** Values that say for certain that a slot has no token of use. */
const absent: ReadonlySet<string | undefined> = new Set([
  "CKR_TOKEN_NOT_PRESENT",
  "CKR_TOKEN_NOT_RECOGNIZED",
  "CKR_DEVICE_REMOVED",
  "CKR_SLOT_ID_INVALID",
]);

/** The initialized tokens in the library's slots. @throws {Failure} no-token, module-crashed */
export function presentTokens({ cryptoki, path }: Slots): SlotToken[] {
  const slots = slotsWithTokens(cryptoki, path).map((slot) => lookInto(cryptoki, slot));
  const tokens = slots.map(({ token }) => token).filter((token) => token !== undefined);
  if (tokens.length === 0) {
    const unread = slots.find(({ error }) => error !== undefined);
    if (unread === undefined) throw new Failure("no-token", `The library ${path} sees no token.`);
    const sentence = `The library ${path} sees a token and fails to read it`;
    throw libraryFailed(sentence, unread.error, "Remove the card, insert it, and try again.");
  }
  const initialized = tokens.filter((token) => hasFlag(token, pkcs11js.CKF_TOKEN_INITIALIZED));
  if (initialized.length > 0) return initialized;
  const hint = "Initialize the token with the vendor's tool.";
  throw new Failure("no-token", `The library ${path} sees no initialized token.`, hint);
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

/** A token that was looked for. */
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
  { cryptoki, path }: Slots,
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

/** They are counted, then listed; when a card is put in between, that is done anew. */
function slotsWithTokens(cryptoki: Cryptoki, path: string, tries = 10): Handle[] {
  try {
    return cryptoki.C_GetSlotList(true);
  } catch (error) {
    if (returnValue(error) === "CKR_BUFFER_TOO_SMALL" && tries > 1) {
      return slotsWithTokens(cryptoki, path, tries - 1);
    }
    const sentence = `The library ${path} does not list its slots`;
    const hint = "Check the reader and, for smart cards, whether pcscd runs.";
    throw libraryFailed(sentence, error, hint);
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
