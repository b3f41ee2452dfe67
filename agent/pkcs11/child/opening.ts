/** Opening the tokens of a library for the first time, and finding their keys. */

import { formatPkcs11Uri } from "../../../openssh/pkcs11-uri.ts";
import { Failure } from "../../../protocol/failure.ts";
import { decodePublicKey } from "../../../protocol/public-key.ts";
import type { Inventory, KnownToken } from "../inventory.ts";
import { PinRequired } from "../messages.ts";
import { isPinRefused } from "../pin-failures.ts";
import { pkcs11js } from "./add-on.ts";
import { type Handle, libraryFailed } from "./cryptoki.ts";
import type { KeptPin } from "./kept-pin.ts";
import type { Module } from "./module.ts";
import { noKeyMatches, noUsableKey, pinRequired } from "./refusals.ts";
import type { Selection } from "./selection.ts";
import { closeSession, openFirst } from "./session-pool.ts";
import { hasFlag, hasSeenWrongPin, type SlotToken, tokenName } from "./slot-token.ts";
import { Token } from "./token.ts";
import { TokenAccess } from "./token-access.ts";
import { findKeys, type TokenKey } from "./token-keys.ts";
import { logIn, loginKind, presentTokens } from "./tokens.ts";

/** What tokens are opened with. */
export interface Opening {
  readonly module: Module;
  /** Makes the place where a token's PIN is kept. */
  readonly makeKeptPin: () => KeptPin;
}

/**
 * Opens a session with each token, before anybody has said what for. Some libraries read a whole card
 * then, in seconds, and a PIN may be typed meanwhile. They stay open until the tokens are opened.
 */
export function openEarly(module: Module): void {
  for (const token of presentTokens(module)) {
    try {
      module.earlySessions.push(openFirst(module, token));
    } catch {
      // whoever opens it in earnest is told why that does not go
    }
  }
}

/**
 * Opens every token that can be; if none can, the first one says why. The PIN is tried once with
 * each token that asks for one. It may not be for all of them, so those that have seen a wrong one
 * come last, and are left alone when the PIN was another token's, or when a wrong one would lock
 * them.
 * @param pin UTF-8, or empty
 * @throws {Failure} no-token, what `logIn` throws; pin-required and no-usable-key for tokens whose
 *   keys cannot be seen
 */
export async function openTokens(
  opening: Opening,
  selection: Selection,
  pin: Buffer,
): Promise<Token[]> {
  const { module } = opening;
  const found = selection.tokens(module, presentTokens(module));
  const isShared = found.length > 1 && pin.length > 0;
  const all = new Set<TokenAccess>();
  const opened = new Map<SlotToken, Token>();
  const failures = new Map<SlotToken, unknown>();
  for (const token of isShared ? [...found].sort(byTries) : found) {
    try {
      if (isShared) spareTries(module, token, [...opened.keys()].some(takesPin));
      opened.set(token, await openToken(opening, token, selection, pin, all));
    } catch (error) {
      failures.set(token, error);
    }
  }
  for (const session of module.earlySessions.splice(0)) closeSession(module.cryptoki, session);
  const inOrder = found.flatMap((token) => opened.get(token) ?? []);
  if (inOrder.length > 0) return inOrder;
  const reasons = found.map((token) => failures.get(token)).filter((it) => it !== undefined);
  // The PIN was right for a token that has no such key: that another one refused it is no news.
  throw reasons.find(isNoUsableKey) ?? allRefusals(reasons) ?? reasons[0];
}

/** What became of a PIN that several tokens were to be given, the worst first. */
const byHarm: readonly string[] = ["pin-locked", "pin-last-try", "pin-incorrect", "pin-required"];

/**
 * One refusal for several tokens that have refused the PIN, each of which has lost a try, or were left
 * alone because they have one left.
 */
function allRefusals(reasons: readonly unknown[]): Failure | undefined {
  const refusals = reasons.filter(
    (reason) => isPinRefused(reason) || (reason instanceof PinRequired && reason.isLastTry),
  );
  const rank = ({ code }: Failure) => byHarm.indexOf(code);
  const [worst] = refusals.toSorted((one, other) => rank(one) - rank(other));
  if (worst === undefined || refusals.length < 2) return undefined;
  const sentence = refusals.map(({ message }) => message).join(" ");
  if (worst instanceof PinRequired) return new PinRequired(sentence, worst.hint, worst.isLastTry);
  return new Failure(worst.code, sentence, worst.hint);
}

/** The tokens and keys that another process has found, before anything is asked of the library. */
export function restoreTokens({ module, makeKeptPin }: Opening, inventory: Inventory): Token[] {
  const all = new Set<TokenAccess>();
  return inventory.tokens.map((known, place) => {
    const keys = inventory.keys.filter(({ token }) => token === place);
    const access = new TokenAccess(module, known, makeKeptPin(), all);
    return new Token(
      module,
      access,
      keys.map(({ keyBlob, label, id, alwaysAuthenticate }) => {
        const publicKey = decodePublicKey(keyBlob);
        if (publicKey === undefined) throw new Failure("internal", "A known key is none.");
        const rest = { label, labels: [label], id, alwaysAuthenticate, handle: undefined };
        return { publicKey, keyBlob: Buffer.from(keyBlob), ...rest, id: Buffer.from(id) };
      }),
    );
  });
}

async function openToken(
  { module, makeKeptPin }: Opening,
  found: SlotToken,
  selection: Selection,
  pin: Buffer,
  all: Set<TokenAccess>,
): Promise<Token> {
  const { description, slot } = found;
  const known: KnownToken = { description, login: loginKind(found), slot };
  const session = openFirst(module, found);
  try {
    const isLogin = known.login === "protected-path" || (known.login === "pin" && pin.length > 0);
    const given = known.login === "protected-path" ? null : pin;
    const isPinRight = isLogin && (await logIn(module, found, session, given));
    const isHidden = known.login !== "none" && !isLogin;
    const seen = searchKeys(module, found, session, isHidden);
    const keys = selection.keys(seen);
    if (keys.length === 0) throw whyNone(found, seen, isHidden);
    const access = new TokenAccess(module, known, makeKeptPin(), all);
    access.begin({ found, session }, isLogin, isPinRight ? pin : Buffer.alloc(0));
    return new Token(module, access, keys);
  } catch (error) {
    closeSession(module.cryptoki, session);
    throw error;
  }
}

/** @param seen the token's keys, none of which is wanted */
function whyNone(token: SlotToken, seen: readonly TokenKey[], isHidden: boolean): Failure {
  if (isHidden) return pinRequired(token.description, token);
  return seen.length > 0 ? noKeyMatches(token.description) : noUsableKey(token.description);
}

function isNoUsableKey(error: unknown): boolean {
  return error instanceof Failure && error.code === "no-usable-key";
}

/** Tokens that have seen a wrong PIN come last. */
function byTries(one: SlotToken, other: SlotToken): number {
  return Number(hasSeenWrongPin(one)) - Number(hasSeenWrongPin(other));
}

/** @param isAnothers whether another token has taken the PIN */
function spareTries({ path }: Module, token: SlotToken, isAnothers: boolean): void {
  if (!takesPin(token)) return;
  const { serial } = token.description;
  if (isAnothers && hasSeenWrongPin(token)) {
    const sentence = `The card ${tokenName(token.description)} was left alone: the PIN is another's.`;
    throw new PinRequired(sentence);
  }
  if (!hasFlag(token, pkcs11js.CKF_USER_PIN_FINAL_TRY)) return;
  throw new PinRequired(
    `The card ${tokenName(token.description)} has one try for its PIN left, and was left alone.`,
    `Load it by itself, with its serial number in a URI: ssh-add -s '${formatPkcs11Uri({ serial, modulePath: path })}'`,
    true,
  );
}

/** Whether a token is given the PIN. */
function takesPin(token: SlotToken): boolean {
  return loginKind(token) === "pin";
}

function searchKeys(
  module: Module,
  token: SlotToken,
  session: Handle,
  isHidden: boolean,
): TokenKey[] {
  try {
    return findKeys(module.cryptoki, session, isHidden);
  } catch (error) {
    const name = tokenName(token.description);
    throw libraryFailed(`The keys of the card ${name} cannot be read`, error);
  }
}
