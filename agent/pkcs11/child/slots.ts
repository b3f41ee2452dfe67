/** Lists the slots of a library, reads the tokens in them, and finds a known token again. */

import type { Pkcs11Uri } from "../../../openssh/pkcs11-uri.ts";
import { sleepSync } from "../../../openssh/sleep-sync.ts";
import { sanitizeName } from "../../../openssh/text-for-display.ts";
import type { TokenDescription } from "../../../protocol/extensions/list-providers.ts";
import { Failure } from "../../../protocol/failure.ts";
import type { KnownToken, LeftOut, LoginKind } from "../messages.ts";
import {
  type Cryptoki,
  type Handle,
  libraryFailed,
  pkcs11js,
  readUlong,
  returnValue,
  valueText,
} from "./cryptoki.ts";
import { lacksPcscd, startPcscd } from "./pcscd.ts";

/** A token in a slot, and its CKF_ flags when it was read. */
export interface SlotToken {
  readonly slot: Handle;
  readonly flags: number;
  readonly description: TokenDescription;
  /** Undefined if the token does not report them. */
  readonly pinLengths: PinLengths | undefined;
}

/** The shortest and the longest PIN that a token takes (ulMinPinLen and ulMaxPinLen). */
export interface PinLengths {
  readonly min: number;
  readonly max: number;
}

/** A token under the name that it keeps. */
export interface PresentToken extends SlotToken {
  /** As in `KnownToken`. */
  readonly identity: string;
}

/** A loaded library. */
interface Slots {
  readonly cryptoki: Cryptoki;
  readonly path: string;
}

/** Whether a token has a CKF_ flag. */
export function hasFlag(token: Pick<SlotToken, "flags">, flag: number): boolean {
  return (token.flags & flag) !== 0;
}

/** The CKF_ flags for wrong PINs. */
export const wrongPinFlags =
  pkcs11js.CKF_USER_PIN_COUNT_LOW | pkcs11js.CKF_USER_PIN_FINAL_TRY | pkcs11js.CKF_USER_PIN_LOCKED;

/** Whether a token reports a wrong PIN since the last correct one. */
export function hasSeenWrongPin(token: Pick<SlotToken, "flags">): boolean {
  return hasFlag(token, wrongPinFlags);
}

/** A token's name in messages: its label, or its serial number. */
export function tokenName({ label, serial }: TokenDescription): string {
  return JSON.stringify(label || serial);
}

/** A token's description. One without label and serial number is labelled as its slot. */
function describeToken(cryptoki: Cryptoki, { slot, description }: SlotToken): TokenDescription {
  if (description.label !== "" || description.serial !== "") return description;
  return { ...description, label: slotName(cryptoki, slot) };
}

function slotName(cryptoki: Cryptoki, slot: Handle): string {
  try {
    const name = trimPadding(cryptoki.C_GetSlotInfo(slot).slotDescription);
    if (name !== "") return name;
  } catch {
    // the slot's number will do
  }
  return `slot ${readUlong(slot)}`;
}

/**
 * What identifies a token, whatever its slot: its serial number with manufacturer and model, since
 * labels change (OpenSC's library labels a PIV card after its certificate). Where the serial number
 * is none (empty or zeros, as a software token's), or is shared by several tokens (OpenSC's library
 * shows a card with two PINs as two), the label belongs to it.
 * @param present the tokens that the library shows
 */
function tokenIdentity(token: SlotToken, present: readonly SlotToken[]): string {
  const own = serialIdentity(token.description);
  const sharing = present.filter(({ description }) => serialIdentity(description) === own);
  const isUnique = sharing.length === 1 && !/^(0*|f*)$/i.test(token.description.serial);
  return isUnique ? own : labelIdentity(token.description);
}

/** The attributes of a PKCS#11 URI that no other token of its library matches. */
export function tokenUri({ slot, description, identity }: PresentToken): Partial<Pkcs11Uri> {
  const { label, serial } = description;
  if (identity === serialIdentity(description)) return { serial };
  return serial === "" ? { token: label, slotId: readUlong(slot) } : { token: label, serial };
}

function serialIdentity({ manufacturer, model, serial }: TokenDescription): string {
  return JSON.stringify([manufacturer, model, serial]);
}

function labelIdentity({ manufacturer, model, serial, label }: TokenDescription): string {
  return JSON.stringify([manufacturer, model, serial, label]);
}

/** CKR_ values of a slot that certainly has no token. */
const absentValues: ReadonlySet<string | undefined> = new Set([
  "CKR_TOKEN_NOT_PRESENT",
  "CKR_DEVICE_REMOVED",
  "CKR_SLOT_ID_INVALID",
]);

/** Whether a token has CKF_TOKEN_INITIALIZED. Some libraries never set it. */
export function isInitialized(token: SlotToken): boolean {
  return hasFlag(token, pkcs11js.CKF_TOKEN_INITIALIZED);
}

/** Whether a token is as new: neither initialized nor with a PIN, as far as its flags say. */
export function isBlank(token: SlotToken): boolean {
  return !hasFlag(token, pkcs11js.CKF_TOKEN_INITIALIZED | pkcs11js.CKF_USER_PIN_INITIALIZED);
}

/** The initialized ones of some tokens or, if none is, all of them. */
export function preferInitialized<Token extends SlotToken>(tokens: readonly Token[]): Token[] {
  const initialized = tokens.filter(isInitialized);
  return initialized.length > 0 ? initialized : [...tokens];
}

/** The tokens in a library's slots, and those that cannot be read. */
interface PresentTokens {
  readonly tokens: readonly PresentToken[];
  readonly leftOut: readonly LeftOut[];
}

/** The tokens in the library's slots. @throws {Failure} no-token, module-crashed */
export function presentTokens({ cryptoki, path }: Slots): PresentTokens {
  const slots = slotsWithTokens(cryptoki, path);
  const contents = slots.map((slot) => ({ slot, ...readSlot(cryptoki, slot) }));
  const tokens = contents.map(({ token }) => token).filter((token) => token !== undefined);
  const unread = contents.filter(({ error }) => error !== undefined);
  if (tokens.length === 0) throw noReadableToken(path, unread[0]?.error);
  // SoftHSM always shows a free slot, which needs no name.
  const named = new Set(preferInitialized(tokens));
  return {
    tokens: tokens.map((token) => ({
      ...token,
      description: named.has(token) ? describeToken(cryptoki, token) : token.description,
      identity: tokenIdentity(token, tokens),
    })),
    leftOut: unread.map(({ slot, error }) => ({
      object: `token in ${JSON.stringify(slotName(cryptoki, slot))}`,
      reason: isUnknownToken(error) ? "not recognized" : `unreadable (${valueText(error)})`,
    })),
  };
}

function noToken(path: string): Failure {
  const sentence = `The library ${path} sees no token`;
  if (!lacksPcscd()) return new Failure("no-token", `${sentence}.`);
  return new Failure("no-token", `${sentence}, and pcscd is not running.`, startPcscd);
}

/** @param error why a token in some slot cannot be read; undefined without a token */
function noReadableToken(path: string, error: unknown): Failure {
  if (error === undefined) return noToken(path);
  if (isUnknownToken(error)) {
    const hint = "Use the library for this card, or insert it the right way round.";
    return new Failure("no-token", `The library ${path} does not recognize the token.`, hint);
  }
  const sentence = `The library ${path} sees a token and fails to read it`;
  return libraryFailed(sentence, error, "Remove the card, insert it, and try again.");
}

/** Whether a token is in the slot that the library does not know. */
function isUnknownToken(error: unknown): boolean {
  return returnValue(error) === "CKR_TOKEN_NOT_RECOGNIZED";
}

/** The token in a slot; undefined if there is none or it cannot be read. */
export function readToken(cryptoki: Cryptoki, slot: Handle): SlotToken | undefined {
  return readSlot(cryptoki, slot).token;
}

/** The content of a slot: a token, nothing, or a token that cannot be read. */
interface SlotContent {
  readonly token?: SlotToken;
  readonly error?: unknown;
}

/**
 * Reads the token in a slot, in up to three attempts: C_GetTokenInfo may fail for a moment, as
 * while another program writes to the token.
 */
function readSlot(cryptoki: Cryptoki, slot: Handle): SlotContent {
  for (let attempt = 1; ; attempt++) {
    try {
      const info = cryptoki.C_GetTokenInfo(slot);
      const { flags, label, manufacturerID, model, serialNumber } = info;
      const description = {
        label: trimPadding(label),
        manufacturer: trimPadding(manufacturerID),
        model: trimPadding(model),
        serial: trimPadding(serialNumber),
      };
      const pinLengths = sanePinLengths(info.minPinLen, info.maxPinLen);
      return { token: { slot, flags, description, pinLengths } };
    } catch (error) {
      if (absentValues.has(returnValue(error))) return {};
      if (attempt === 3 || isUnknownToken(error)) return { error };
      sleepSync(20);
    }
  }
}

/** The longest PIN that a token may report: beyond it, the number is not meant as one. */
const maxPinLength = 1024;

/** Some libraries leave the lengths at 0, or fill them with something else. */
function sanePinLengths(min: number, max: number): PinLengths | undefined {
  return max >= 4 && min <= max && max <= maxPinLength ? { min, max } : undefined;
}

/** The result of `locateToken`. */
export interface Located {
  /** The token by its known name, in its old slot or a new one; undefined if it is absent. */
  readonly token: SlotToken | undefined;
  /** Whether another token is in its old slot. */
  readonly isReplaced: boolean;
  /** Whether the library sees no token at all. */
  readonly seesNoToken: boolean;
}

/**
 * Finds a token again. Lists the slots each time: some libraries notice a removed card only then.
 * @param slot the token's last known slot
 */
export function locateToken(
  { cryptoki, path }: Slots,
  { identity, description }: KnownToken,
  slot: Handle,
): Located {
  const isIt = ({ description }: SlotToken) =>
    identity === serialIdentity(description) || identity === labelIdentity(description);
  const slots = slotsWithTokens(cryptoki, path);
  const own = slots.find((candidate) => slot.equals(candidate));
  const there = own && readToken(cryptoki, own);
  if (there !== undefined && isIt(there)) {
    return { token: { ...there, description }, isReplaced: false, seesNoToken: false };
  }
  const others = slots
    .filter((candidate) => candidate !== own)
    .map((candidate) => readToken(cryptoki, candidate))
    .filter((candidate) => candidate !== undefined);
  const found = others.find(isIt);
  const isReplaced = found === undefined && there !== undefined;
  const seesNoToken = others.length === 0 && there === undefined;
  return { token: found && { ...found, description }, isReplaced, seesNoToken };
}

/** The kind of login that a token requires. */
export function loginKind(token: SlotToken): LoginKind {
  if (!hasFlag(token, pkcs11js.CKF_LOGIN_REQUIRED)) return "none";
  return hasFlag(token, pkcs11js.CKF_PROTECTED_AUTHENTICATION_PATH) ? "protected-path" : "pin";
}

/** C_GetSlotList, repeated if a card is inserted between counting and listing the slots. */
function slotsWithTokens(cryptoki: Cryptoki, path: string, tries = 10): Handle[] {
  try {
    return cryptoki.C_GetSlotList(true);
  } catch (error) {
    if (returnValue(error) === "CKR_BUFFER_TOO_SMALL" && tries > 1) {
      return slotsWithTokens(cryptoki, path, tries - 1);
    }
    const sentence = `The library ${path} does not list its slots`;
    const hint = "Check the reader and, for smart cards, whether pcscd runs.";
    throw libraryFailed(sentence, error, lacksPcscd() ? startPcscd : hint);
  }
}

/** Removes PKCS#11's padding with blanks; some libraries end text with a zero byte instead. */
export function trimPadding(text: string): string {
  const end = text.indexOf("\0");
  return sanitizeName((end < 0 ? text : text.slice(0, end)).trimEnd());
}
