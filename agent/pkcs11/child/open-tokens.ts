/** Opens the tokens of a library for the first time, and lists their keys. */
import { formatPkcs11Uri } from "../../../openssh/pkcs11-uri.ts";
import { asFailure, Failure } from "../../../protocol/failure.ts";
import { decodePublicKey } from "../../../protocol/public-key.ts";
import {
  type Inventory,
  isPinRefused,
  type KnownToken,
  type LeftOut,
  PinRequired,
} from "../messages.ts";
import { type Handle, libraryFailed, pkcs11js } from "./cryptoki.ts";
import {
  noChosenKey,
  noInitializedToken,
  noKeyMatches,
  noUsableKey,
  pinRequired,
} from "./failures.ts";
import { KeyState } from "./key-state.ts";
import { type PinCache, TokenLogin } from "./login.ts";
import type { Module } from "./module.ts";
import { countOthers, type FoundKeys, findKeys } from "./objects.ts";
import type { TokenKey } from "./private-keys.ts";
import { type Selection, selectKeys, selectTokens } from "./selection.ts";
import { closeSession, FirstSessions, openFirst } from "./sessions.ts";
import { signsAtOnce } from "./sign.ts";
import {
  hasFlag,
  hasSeenWrongPin,
  isBlank,
  loginKind,
  type PresentToken,
  preferInitialized,
  presentTokens,
  type SlotToken,
  tokenName,
  tokenUri,
} from "./slots.ts";
import { type OpenToken, type OpenTokens, TokenConnection } from "./token.ts";

const noPin = Buffer.alloc(0);

/** Opens a session with each token while the user types the PIN. */
export function openEarly(module: Module): FirstSessions {
  const sessions = new FirstSessions(module);
  for (const token of preferInitialized(presentTokens(module).tokens)) {
    try {
      sessions.keep(token, openFirst(module, token));
    } catch {
      // openTokens reports the error
    }
  }
  return sessions;
}

/**
 * Opens every token that opens; if none does, throws the first one's failure. The PIN is tried once
 * on each token that requires one. With several tokens it may be wrong for some: tokens that report
 * a wrong PIN come last, and are skipped if another token has accepted the PIN; a token with one
 * try left is always skipped.
 * @param makeCache makes the PIN cache of a token
 * @param pin UTF-8, or empty
 * @param sessions those of `openEarly`, which end if they are not used
 * @throws {Failure} no-token, and as a login; pin-required, no-usable-key or
 *   key-not-found if no token shows a selected key
 */
export async function openTokens(
  module: Module,
  makeCache: () => PinCache,
  selection: Selection,
  pin: Buffer,
  sessions: FirstSessions,
): Promise<OpenTokens> {
  const present = presentTokens(module);
  const found = selectTokens(selection, module, present.tokens, sessions);
  const isPinShared = found.length > 1 && pin.length > 0;
  const all = new Set<TokenConnection>();
  const opened = new Map<SlotToken, OpenToken>();
  const failures = new Map<SlotToken, unknown>();
  for (const token of isPinShared ? [...found].sort(byTries) : found) {
    try {
      if (isPinShared) checkPinTries(module, token, [...opened.keys()].some(takesPin));
      const open = (as: PresentToken) =>
        openAs(module, makeCache(), as, sessions, selection, pin, all);
      opened.set(token, await openToken(token, open));
    } catch (error) {
      failures.set(token, error);
    }
  }
  sessions.close();
  const tokens = found.flatMap((token) => opened.get(token) ?? []);
  if (tokens.length > 0) {
    const isSelected = selection.uri !== undefined || selection.only !== undefined;
    const leftOut = isSelected ? [] : [...present.leftOut, ...[...failures].map(leftOutToken)];
    return { tokens, leftOut };
  }
  const reasons = found.map((token) => failures.get(token)).filter((it) => it !== undefined);
  // The token that accepted the PIN has no usable key; then refusals by other tokens do not matter.
  throw (
    reasons.find(isNoUsableKey) ?? allRefusals(reasons) ?? reasons.find(isRefusal) ?? reasons[0]
  );
}

/** A token that was not opened, while another one was. */
function leftOutToken([{ description }, error]: readonly [SlotToken, unknown]): LeftOut {
  const object = `token ${tokenName(description)}`;
  const { message } = asFailure(error);
  const start = `The ${object} `;
  const reason = message.startsWith(start) ? message.slice(start.length) : message;
  return { object, reason: reason.replace(/\.$/, "") };
}

/** The refusals of a shared PIN, the worst first. */
const refusalCodes: readonly string[] = [
  "pin-locked",
  "pin-last-try",
  "pin-incorrect",
  "pin-required",
];

/**
 * One failure for several tokens that refused the PIN, each at the cost of a try, or were skipped
 * because they have one try left.
 */
function allRefusals(reasons: readonly unknown[]): Failure | undefined {
  const refusals = reasons.filter(isRefusal);
  const rank = ({ code }: Failure) => refusalCodes.indexOf(code);
  const [worst] = refusals.toSorted((one, other) => rank(one) - rank(other));
  if (worst === undefined || refusals.length < 2) return undefined;
  const sentence = refusals.map(({ message }) => message).join(" ");
  if (worst instanceof PinRequired) return new PinRequired(sentence, worst.hint, worst.isLastTry);
  return new Failure(worst.code, sentence, worst.hint);
}

function isRefusal(reason: unknown): reason is Failure {
  if (reason instanceof PinRequired) return reason.isLastTry;
  return reason instanceof Failure && refusalCodes.includes(reason.code);
}

/** The tokens and keys that an earlier child process found. Makes no library call. */
export function restoreTokens(
  module: Module,
  makeCache: () => PinCache,
  inventory: Inventory,
): OpenTokens {
  const all = new Set<TokenConnection>();
  const tokens = inventory.tokens.map((known, place) => {
    const own = inventory.keys.filter(({ token }) => token === place);
    const keys = own.map(({ keyBlob, label, id, alwaysAuthenticate }): TokenKey => {
      const publicKey = decodePublicKey(keyBlob);
      if (publicKey === undefined) throw new Failure("internal", "Invalid key in an inventory.");
      const names = { ids: [id], labels: [label], source: "key" } as const;
      return { publicKey, keyBlob, label, id, ...names, alwaysAuthenticate, handle: undefined };
    });
    const login = new TokenLogin(module, known, makeCache());
    const connection = new TokenConnection(module, known, login, keys.length, all);
    const leftOut = inventory.leftOut.filter(({ token }) => token === place);
    return { connection, keys, leftOut };
  });
  return { tokens, leftOut: inventory.leftOut.filter(({ token }) => token === undefined) };
}

/** Opens a token; if it then has no key, as one that requires a login without saying so. */
async function openToken(
  found: PresentToken,
  open: (token: PresentToken) => Promise<OpenToken>,
): Promise<OpenToken> {
  try {
    return await open(found);
  } catch (error) {
    if (!isNoUsableKey(error) || !mayHideKeys(found)) throw error;
    const flags = found.flags | pkcs11js.CKF_LOGIN_REQUIRED;
    return open({ ...found, flags }).catch((second: unknown) => {
      throw isPinRefused(second) || isNoUsableKey(second) ? second : error;
    });
  }
}

async function openAs(
  module: Module,
  cache: PinCache,
  found: PresentToken,
  sessions: FirstSessions,
  selection: Selection,
  pin: Buffer,
  all: Set<TokenConnection>,
): Promise<OpenToken> {
  const { description, identity, slot } = found;
  const known: KnownToken = { description, identity, login: loginKind(found), slot };
  const login = new TokenLogin(module, known, cache);
  const session = takeSession(module, found, sessions);
  try {
    const result = await login.logInFirst(found, session, pin);
    const isHidden = known.login !== "none" && result === "none";
    const seen = searchKeys(module, found, session, isHidden);
    const connect = ({ length }: readonly TokenKey[]) => {
      const connection = new TokenConnection(module, known, login, length, all);
      connection.open({ found, session }, result);
      return connection;
    };
    const keys = selectKeys(selection, seen.keys);
    if (keys.length > 0) return { connection: connect(keys), keys, leftOut: seen.leftOut };
    const failure = noKeyFailure(module, found, session, selection, seen, isHidden);
    const doubtful = isHidden ? [] : selectKeys(selection, [...seen.doubtful.keys()]);
    if (doubtful.length === 0) throw failure;
    const connection = connect(doubtful);
    const accepted = login.hasAcceptedPin ? pin : noPin;
    const signing = await keysThatSign(module, connection, doubtful, accepted);
    if (signing.length > 0)
      return { connection, keys: signing, leftOut: withoutKeys(seen, signing) };
    connection.abandon();
    throw failure;
  } catch (error) {
    login.forgetPin();
    closeSession(module.cryptoki, session);
    throw error;
  }
}

/**
 * The keys that sign, among those that may not, as CKA_SIGN says. Only tried when a token has no
 * other key: it may cost a touch.
 * @param pin one that the token has accepted, or empty
 */
async function keysThatSign(
  module: Module,
  connection: TokenConnection,
  keys: readonly TokenKey[],
  pin: Buffer,
): Promise<TokenKey[]> {
  const signing: TokenKey[] = [];
  for (const key of keys) {
    const state = new KeyState(key, connection.sessions, []);
    if (await signsAtOnce(module, connection, state, pin)) signing.push(key);
  }
  return signing;
}

/** What is left out, without these keys. */
function withoutKeys({ leftOut, doubtful }: FoundKeys, keys: readonly TokenKey[]): LeftOut[] {
  const found = new Set(keys.map((key) => doubtful.get(key)));
  return leftOut.filter((one) => !found.has(one));
}

/** Whether a token has a PIN without requiring a login: some hide their private keys all the same. */
function mayHideKeys(token: SlotToken): boolean {
  const hasPin = hasFlag(token, pkcs11js.CKF_USER_PIN_INITIALIZED) && !hasSeenWrongPin(token);
  return hasPin && loginKind(token) === "none";
}

/** @param seen what the token has; none of its keys is selected */
function noKeyFailure(
  { cryptoki, path }: Module,
  token: SlotToken,
  session: Handle,
  { uri, only }: Selection,
  { keys, leftOut }: FoundKeys,
  isHidden: boolean,
): Failure {
  const { description } = token;
  if (isHidden) return pinRequired(description, token);
  if (keys.length > 0) {
    const matching = selectKeys({ uri, only: undefined }, keys);
    if (only !== undefined && matching.length > 0) return noChosenKey(description, matching);
    return noKeyMatches(description, leftOut);
  }
  const others = countOthers(cryptoki, session);
  const none = noUsableKey(description, leftOut, others);
  const isEmpty = leftOut.length === 0 && others.length === 0;
  return isEmpty && isBlank(token) ? noInitializedToken(path, none.message) : none;
}

/** @throws {Failure} as `FirstSessions.take`; no-token for a blank token */
function takeSession(module: Module, token: PresentToken, sessions: FirstSessions): Handle {
  try {
    return sessions.take(token);
  } catch (error) {
    const isRefused = error instanceof Failure && error.code === "module-crashed";
    throw isRefused && isBlank(token) ? noInitializedToken(module.path, error.message) : error;
  }
}

function isNoUsableKey(error: unknown): boolean {
  return error instanceof Failure && error.code === "no-usable-key";
}

/** Sorts tokens that report a wrong PIN last. */
function byTries(one: SlotToken, other: SlotToken): number {
  return Number(hasSeenWrongPin(one)) - Number(hasSeenWrongPin(other));
}

/** Throws if a try is too risky. @param isAcceptedElsewhere whether another token accepted the PIN */
function checkPinTries({ path }: Module, token: PresentToken, isAcceptedElsewhere: boolean): void {
  if (!takesPin(token)) return;
  if (isAcceptedElsewhere && hasSeenWrongPin(token)) {
    const sentence = `The token ${tokenName(token.description)} was not tried: the PIN is another token's.`;
    throw new PinRequired(sentence);
  }
  if (!hasFlag(token, pkcs11js.CKF_USER_PIN_FINAL_TRY)) return;
  throw new PinRequired(
    `The token ${tokenName(token.description)} has one PIN try left and was not tried.`,
    `Load it by itself, with a URI: ssh-add -s '${formatPkcs11Uri({ ...tokenUri(token), modulePath: path })}'`,
    true,
  );
}

/** Whether a token's login uses the PIN. */
function takesPin(token: SlotToken): boolean {
  return loginKind(token) === "pin";
}

function searchKeys(
  module: Module,
  token: SlotToken,
  session: Handle,
  isHidden: boolean,
): FoundKeys {
  try {
    return findKeys(module.cryptoki, session, isHidden);
  } catch (error) {
    const name = tokenName(token.description);
    throw libraryFailed(`The keys of the token ${name} cannot be read`, error);
  }
}
