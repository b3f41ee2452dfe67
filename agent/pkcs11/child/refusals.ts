/** Refusals of tokens, in words. None of them holds a PIN. */
import type { TokenDescription } from "../../../protocol/extensions/list-providers.ts";
import { Failure } from "../../../protocol/failure.ts";
import { PinRequired } from "../messages.ts";
import { pkcs11js } from "./add-on.ts";
import { libraryFailed, returnValue } from "./cryptoki.ts";
import { hasFlag, type SlotToken, tokenName } from "./slot-token.ts";

/** What a library says when a session, a key or the token itself is not what it was. */
const lost: ReadonlySet<string | undefined> = new Set([
  "CKR_TOKEN_NOT_PRESENT",
  "CKR_DEVICE_REMOVED",
  "CKR_SLOT_ID_INVALID",
  "CKR_SESSION_HANDLE_INVALID",
  "CKR_SESSION_CLOSED",
  "CKR_KEY_HANDLE_INVALID",
  "CKR_OBJECT_HANDLE_INVALID",
  "CKR_CRYPTOKI_NOT_INITIALIZED",
]);

/** What libraries say when they have lost the way to the card, among other things. */
const trouble: ReadonlySet<string | undefined> = new Set([
  "CKR_DEVICE_ERROR",
  "CKR_GENERAL_ERROR",
  "CKR_FUNCTION_FAILED",
]);

/**
 * What a library says when trying again would change nothing. CKR_KEY_TYPE_INCONSISTENT is not among
 * them: OpenSC's says so while it reads a card that was just put in.
 */
const final: ReadonlySet<string | undefined> = new Set([
  "CKR_FUNCTION_REJECTED",
  "CKR_FUNCTION_CANCELED",
  "CKR_CANCEL",
  "CKR_MECHANISM_INVALID",
  "CKR_MECHANISM_PARAM_INVALID",
  "CKR_KEY_FUNCTION_NOT_PERMITTED",
  "CKR_KEY_SIZE_RANGE",
  "CKR_DATA_LEN_RANGE",
  "CKR_DATA_INVALID",
  "CKR_BUFFER_TOO_SMALL",
  "CKR_FUNCTION_NOT_SUPPORTED",
  "CKR_PIN_LOCKED",
]);

const pinRefusals: ReadonlySet<string> = new Set(["pin-incorrect", "pin-last-try"]);

const again = "Try again, and look at the card or its reader.";
const otherKey = "Use another key.";

/** Whether an error tells that sessions are lost: they can be opened again. */
export function isLost(error: unknown): boolean {
  return lost.has(returnValue(error));
}

/** Whether an error may be for a library that does not find the way to the card any more. */
export function isTroubleOfDevice(error: unknown): boolean {
  return isLost(error) || trouble.has(returnValue(error));
}

/** Whether a failure is for a PIN that was wrong. */
export function isPinRefusal(error: unknown): boolean {
  return error instanceof Failure && pinRefusals.has(error.code);
}

/** Whether a failure is for an error of the library that tells nothing of the PIN. */
export function isLibraryFailure(error: unknown): boolean {
  return error instanceof Failure && error.code === "module-crashed";
}

/** Whether trying again is of no use after an error. */
export function isFinal(error: unknown): boolean {
  return final.has(returnValue(error));
}

/** Whether an error is for want of a login; a failure that is not final is. */
export function wantsLogin(error: unknown): boolean {
  return error instanceof Failure || returnValue(error) === "CKR_USER_NOT_LOGGED_IN";
}

/**
 * The failure of a key that cannot be used before its token's PIN is given.
 * @param now the token as it is now, where that is known
 */
export function pinRequired(token: TokenDescription, now: SlotToken | undefined): Failure {
  const lastTryHint =
    "The next wrong PIN locks the card. Be sure before you load it again with: ssh-add -s LIB";
  return asksForPin(now, `The card ${tokenName(token)} asks for its PIN`, undefined, lastTryHint);
}

/** The failure of a key whose token wants its PIN at each signature. */
export function pinRequiredEachTime(token: TokenDescription, now: SlotToken | undefined): Failure {
  const what = `The card ${tokenName(token)} asks for its PIN at each signature with this key`;
  const hint =
    "Answer the agent's question for the PIN. It asks if it was started with SSH_ASKPASS and DISPLAY; to be asked less, start it with: -O pin-cache=TIME";
  return asksForPin(
    now,
    what,
    hint,
    "The next wrong PIN locks the card. Be sure before you answer.",
  );
}

function asksForPin(
  now: SlotToken | undefined,
  what: string,
  hint: string | undefined,
  lastTryHint: string,
): Failure {
  if (now !== undefined && hasFlag(now, pkcs11js.CKF_USER_PIN_LOCKED)) return pinLocked(now);
  const isLastTry = now !== undefined && hasFlag(now, pkcs11js.CKF_USER_PIN_FINAL_TRY);
  if (!isLastTry) return new PinRequired(`${what}.`, hint);
  return new PinRequired(`${what}, and one try is left.`, lastTryHint, true);
}

/** The failure of a key whose token is not there. */
export function tokenRemoved(token: TokenDescription): Failure {
  return new Failure("token-removed", `The card ${tokenName(token)} is not in its reader.`);
}

/** Whether a failure is for a token that is not there. */
export function isTokenRemoved(error: unknown): error is Failure {
  return error instanceof Failure && error.code === "token-removed";
}

/** The failure of a token that was waited for, and that may have waited for a touch. */
export function notTouched(token: TokenDescription): Failure {
  const sentence = `The card ${tokenName(token)} gave up waiting; it may have waited for a touch.`;
  return new Failure("user-refused", sentence, "Try again, and touch the card when it blinks.");
}

/** The failure of a signature that is not by the key that was asked for. */
export function foreignSignature(token: TokenDescription): Failure {
  const sentence = `What the card ${tokenName(token)} signed is not signed by this key.`;
  const hint = "See whether it is the right card, then load it again with: ssh-add -s LIB";
  return new Failure("module-crashed", sentence, hint);
}

/**
 * Why a token did not let its user in.
 * @param now the token as it is after that; undefined when it is gone
 * @param error what C_Login ended with
 */
export function loginFailure(
  token: TokenDescription,
  now: SlotToken | undefined,
  error: unknown,
): Failure {
  const name = tokenName(token);
  switch (returnValue(error)) {
    case "CKR_PIN_INCORRECT":
    case "CKR_PIN_INVALID":
    case "CKR_PIN_LEN_RANGE":
      return wrongPin(token, now);
    case "CKR_PIN_LOCKED":
      return pinLocked({ description: token });
    case "CKR_ARGUMENTS_BAD": {
      const hint = "Check its length, then try again; the PIN of a YubiKey has 6 to 8 characters.";
      return new Failure("pin-incorrect", `The card ${name} takes no PIN like this one.`, hint);
    }
    case "CKR_PIN_EXPIRED": {
      const hint = "Change the PIN with the card maker's tool, then load the card again.";
      return new Failure("pin-incorrect", `The PIN of the card ${name} has expired.`, hint);
    }
    case "CKR_USER_PIN_NOT_INITIALIZED": {
      const hint = "Set a PIN with the card maker's tool first.";
      return new PinRequired(`The card ${name} has no PIN yet.`, hint);
    }
    case "CKR_FUNCTION_CANCELED":
    case "CKR_FUNCTION_REJECTED":
    case "CKR_CANCEL":
      return new Failure("user-refused", `The PIN of the card ${name} was not entered.`, again);
    case "CKR_TOKEN_NOT_PRESENT":
    case "CKR_DEVICE_REMOVED":
      return tokenRemoved(token);
    default:
      if (now === undefined) return tokenRemoved(token);
      return libraryFailed(`Logging in to the card ${name} failed`, error);
  }
}

/**
 * Why a token did not sign.
 * @param token as it is now
 * @param alwaysAuthenticate whether the key wants the PIN each time
 * @param error what the library ended with
 */
export function signFailure(
  token: SlotToken,
  alwaysAuthenticate: boolean,
  error: unknown,
): Failure {
  const { description } = token;
  const name = tokenName(description);
  switch (returnValue(error)) {
    case "CKR_USER_NOT_LOGGED_IN":
      return alwaysAuthenticate
        ? pinRequiredEachTime(description, token)
        : pinRequired(description, token);
    case "CKR_PIN_LOCKED":
      return pinLocked(token);
    case "CKR_FUNCTION_REJECTED":
    case "CKR_FUNCTION_CANCELED":
    case "CKR_CANCEL":
      return new Failure("user-refused", `The signature was refused at the card ${name}.`, again);
    case "CKR_MECHANISM_INVALID":
    case "CKR_MECHANISM_PARAM_INVALID":
    case "CKR_KEY_TYPE_INCONSISTENT":
    case "CKR_KEY_FUNCTION_NOT_PERMITTED":
    case "CKR_KEY_SIZE_RANGE":
    case "CKR_DATA_LEN_RANGE":
    case "CKR_DATA_INVALID":
    case "CKR_FUNCTION_NOT_SUPPORTED":
      return new Failure("unsupported", `The card ${name} does not sign like this.`, otherKey);
    default:
      return libraryFailed(`The card ${name} failed to sign`, error);
  }
}

/** The failure of a key that turns out to be for other things, once its private half is seen. */
export function keyDoesNotSign(token: TokenDescription): Failure {
  const sentence = `This key of the card ${tokenName(token)} is not for signatures.`;
  const hint = "Use another key. With its PIN, the card shows only those that sign: ssh-add -s LIB";
  return new Failure("unsupported", sentence, hint);
}

/** The failure of a token whose keys are not those that a PKCS#11 URI names. */
export function noKeyMatches(token: TokenDescription): Failure {
  const sentence = `The card ${tokenName(token)} has no signing key that the PKCS#11 URI matches.`;
  const hint = "Leave out object and id to load all of its keys, and compare with: ssh-add -l";
  return new Failure("no-usable-key", sentence, hint);
}

/** The failure of a token without a key of use. */
export function noUsableKey(token: TokenDescription): Failure {
  return new Failure("no-usable-key", `The card ${tokenName(token)} has no key that signs.`);
}

/** @param now the token as it is after the PIN was refused */
function wrongPin(token: TokenDescription, now: SlotToken | undefined): Failure {
  if (now !== undefined && hasFlag(now, pkcs11js.CKF_USER_PIN_LOCKED)) return pinLocked(now);
  const sentence = `The card ${tokenName(token)} refused the PIN`;
  if (now !== undefined && hasFlag(now, pkcs11js.CKF_USER_PIN_FINAL_TRY)) {
    return new Failure("pin-last-try", `${sentence}, and one try is left.`);
  }
  return new Failure("pin-incorrect", `${sentence}.`);
}

/** The failure of a token that takes no PIN any more. */
export function pinLocked({ description }: Pick<SlotToken, "description">): Failure {
  return new Failure("pin-locked", `The PIN of the card ${tokenName(description)} is locked.`);
}
