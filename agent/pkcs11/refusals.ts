/** Refusals of tokens, in words. None of them holds a PIN. */
import pkcs11js from "pkcs11js";
import { Failure } from "../../protocol/failure.ts";
import { libraryFailed, returnValue } from "./cryptoki.ts";
import { hasFlag, type SlotToken, tokenName } from "./slot-token.ts";

/** The failure of a key that cannot be used before its token's PIN is given. */
export function pinRequired(token: SlotToken): Failure {
  return new Failure("pin-required", `The card ${tokenName(token)} asks for its PIN.`);
}

/** The failure of a key whose token is not there. */
export function tokenRemoved(token: SlotToken): Failure {
  return new Failure("token-removed", `The card ${tokenName(token)} is not in its reader.`);
}

/**
 * Why a token did not let its user in.
 * @param now the token as it is after that
 * @param error what C_Login ended with
 */
export function loginFailure(token: SlotToken, now: SlotToken, error: unknown): Failure {
  const name = tokenName(token);
  switch (returnValue(error)) {
    case "CKR_PIN_INCORRECT":
    case "CKR_PIN_INVALID":
    case "CKR_PIN_LEN_RANGE":
      return wrongPin(now);
    case "CKR_PIN_LOCKED":
      return pinLocked(token);
    case "CKR_PIN_EXPIRED": {
      const hint = "Change the PIN with the card maker's tool, then load the card again.";
      return new Failure("pin-incorrect", `The PIN of the card ${name} has expired.`, hint);
    }
    case "CKR_USER_PIN_NOT_INITIALIZED": {
      const hint = "Set a PIN with the card maker's tool first.";
      return new Failure("pin-required", `The card ${name} has no PIN yet.`, hint);
    }
    case "CKR_FUNCTION_CANCELED":
    case "CKR_FUNCTION_REJECTED":
    case "CKR_CANCEL":
      return new Failure("user-refused", `The PIN of the card ${name} was not entered.`);
    case "CKR_TOKEN_NOT_PRESENT":
    case "CKR_DEVICE_REMOVED":
      return tokenRemoved(token);
    default:
      return libraryFailed(`Logging in to the card ${name} failed`, error);
  }
}

/**
 * Why a token did not sign.
 * @param alwaysAuthenticate whether the key wants the PIN each time
 * @param error what the library ended with
 */
export function signFailure(
  token: SlotToken,
  alwaysAuthenticate: boolean,
  error: unknown,
): Failure {
  const name = tokenName(token);
  switch (returnValue(error)) {
    case "CKR_USER_NOT_LOGGED_IN": {
      if (!alwaysAuthenticate) return pinRequired(token);
      const sentence = `The card ${name} asks for its PIN at each signature with this key.`;
      return new Failure("pin-required", sentence, "Use another key of the card.");
    }
    case "CKR_TOKEN_NOT_PRESENT":
    case "CKR_DEVICE_REMOVED":
      return tokenRemoved(token);
    case "CKR_FUNCTION_REJECTED":
    case "CKR_FUNCTION_CANCELED":
    case "CKR_CANCEL":
      return new Failure("user-refused", `The signature was refused at the card ${name}.`);
    case "CKR_MECHANISM_INVALID":
    case "CKR_KEY_TYPE_INCONSISTENT":
    case "CKR_KEY_FUNCTION_NOT_PERMITTED":
    case "CKR_KEY_SIZE_RANGE":
    case "CKR_DATA_LEN_RANGE":
      return new Failure("unsupported", `The card ${name} does not sign like this.`);
    default:
      return libraryFailed(`The card ${name} failed to sign`, error);
  }
}

/** The failure of a token without a key of use. */
export function noUsableKey(token: SlotToken): Failure {
  return new Failure("no-usable-key", `The card ${tokenName(token)} has no key that signs.`);
}

/** @param now the token as it is after the PIN was refused */
function wrongPin(now: SlotToken): Failure {
  if (hasFlag(now, pkcs11js.CKF_USER_PIN_LOCKED)) return pinLocked(now);
  const sentence = `The card ${tokenName(now)} refused the PIN`;
  if (hasFlag(now, pkcs11js.CKF_USER_PIN_FINAL_TRY)) {
    return new Failure("pin-last-try", `${sentence}, and one try is left.`);
  }
  return new Failure("pin-incorrect", `${sentence}.`);
}

/** The failure of a token that takes no PIN any more. */
export function pinLocked(token: SlotToken): Failure {
  return new Failure("pin-locked", `The PIN of the card ${tokenName(token)} is locked.`);
}
