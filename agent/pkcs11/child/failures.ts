/** Failures for CKR_ values and token states. They never contain a PIN. */
import type { TokenDescription } from "../../../protocol/extensions/list-providers.ts";
import { Failure } from "../../../protocol/failure.ts";
import { fingerprint } from "../../../protocol/fingerprint.ts";
import type { SignatureAlgorithm } from "../../../protocol/signature.ts";
import { type LeftOut, PinRequired } from "../messages.ts";
import { libraryFailed, pkcs11js, returnValue } from "./cryptoki.ts";
import { lacksPcscd, startPcscd } from "./pcscd.ts";
import { refusesMechanism } from "./recovery.ts";
import { hasFlag, type PinLengths, type SlotToken, tokenName } from "./slots.ts";

const retryHint = "Try again, and look at the card or its reader.";
const otherKeyHint = "Use another key.";

/**
 * The token requires a login before the key can be used.
 * @param now the token's current state, if known
 */
export function pinRequired(token: TokenDescription, now: SlotToken | undefined): Failure {
  const lastTryHint =
    "The next wrong PIN locks the token. Be sure before you load it again with: ssh-add -s LIB";
  const what = `The token ${tokenName(token)} asks for its PIN`;
  return asksForPin(token, now, what, undefined, lastTryHint);
}

/** The token requires its PIN for each signature with the key. */
export function pinRequiredEachTime(token: TokenDescription, now: SlotToken | undefined): Failure {
  const what = `The token ${tokenName(token)} asks for its PIN at each signature with this key`;
  const hint =
    "Answer the agent's question for the PIN. It asks if it was started with SSH_ASKPASS and DISPLAY; to be asked less, start it with: -O pin-cache=TIME";
  return asksForPin(
    token,
    now,
    what,
    hint,
    "The next wrong PIN locks the token. Be sure before you answer.",
  );
}

function asksForPin(
  token: TokenDescription,
  now: SlotToken | undefined,
  what: string,
  hint: string | undefined,
  lastTryHint: string,
): Failure {
  if (now !== undefined && hasFlag(now, pkcs11js.CKF_USER_PIN_LOCKED)) return pinLocked(token);
  const isLastTry = now !== undefined && hasFlag(now, pkcs11js.CKF_USER_PIN_FINAL_TRY);
  if (!isLastTry) return new PinRequired(`${what}.`, hint);
  return new PinRequired(`${what}, and one try is left.`, lastTryHint, true);
}

/** The token is absent. */
export function tokenRemoved(token: TokenDescription): Failure {
  if (lacksPcscd()) {
    const sentence = `The token ${tokenName(token)} cannot be reached: pcscd is not running.`;
    return new Failure("token-removed", sentence, startPcscd);
  }
  return new Failure(
    "token-removed",
    `The token ${tokenName(token)} is not in its reader, or another program keeps it for itself.`,
  );
}

/** The token timed out, perhaps while it waited for a touch. */
export function notTouched(token: TokenDescription): Failure {
  const sentence = `The token ${tokenName(token)} gave up waiting; it may have waited for a touch.`;
  return new Failure("user-refused", sentence, "Try again, and touch the card when it blinks.");
}

/** The signature does not verify with the requested key. */
export function foreignSignature(token: TokenDescription): Failure {
  const sentence = `The token ${tokenName(token)} returned a signature that is not valid for this key.`;
  const hint = "Check that it is the right card, then load it again with: ssh-add -s LIB";
  return new Failure("module-crashed", sentence, hint);
}

/** The signature has an impossible length. */
export function wrongLength(length: number, expected: number): Failure {
  const sentence = `The library gave a signature of ${length} bytes instead of ${expected}.`;
  return new Failure("module-crashed", sentence, "Look for a newer version of the library.");
}

/**
 * The failure for an error of C_Login.
 * @param now the token's state after C_Login; undefined if the token is gone
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
      return wrongPin(token, now);
    case "CKR_PIN_LOCKED":
      return pinLocked(token);
    case "CKR_PIN_LEN_RANGE":
      return wrongPin(token, now, ` for its length${takenLengths(now?.pinLengths)}`);
    case "CKR_ARGUMENTS_BAD": {
      const sentence = `The token ${name} does not accept a PIN of this form.`;
      const hint = "Check its length, then try again; the PIN of a YubiKey has 6 to 8 characters.";
      return new Failure("pin-incorrect", sentence, hint);
    }
    case "CKR_PIN_EXPIRED": {
      const hint = "Change the PIN with the vendor's tool, then load the token again.";
      return new Failure("pin-incorrect", `The PIN of the token ${name} has expired.`, hint);
    }
    case "CKR_USER_PIN_NOT_INITIALIZED": {
      const hint = "Set a PIN with the vendor's tool first.";
      return new PinRequired(`The token ${name} has no PIN yet.`, hint);
    }
    case "CKR_FUNCTION_CANCELED":
    case "CKR_FUNCTION_REJECTED":
    case "CKR_CANCEL":
      return new Failure(
        "user-refused",
        `The PIN of the token ${name} was not entered.`,
        retryHint,
      );
    case "CKR_TOKEN_NOT_PRESENT":
    case "CKR_DEVICE_REMOVED":
      return tokenRemoved(token);
    default:
      if (now === undefined) return tokenRemoved(token);
      return libraryFailed(`Logging in to the token ${name} failed`, error);
  }
}

/**
 * The failure for an error of C_SignInit or C_Sign.
 * @param token its current state
 * @param alwaysAuthenticate the key's CKA_ALWAYS_AUTHENTICATE
 */
export function signFailure(
  token: SlotToken,
  alwaysAuthenticate: boolean,
  algorithm: SignatureAlgorithm,
  error: unknown,
): Failure {
  const { description } = token;
  const name = tokenName(description);
  if (refusesMechanism(error)) return algorithmRefused(description, algorithm);
  switch (returnValue(error)) {
    case "CKR_USER_NOT_LOGGED_IN":
      return alwaysAuthenticate
        ? pinRequiredEachTime(description, token)
        : pinRequired(description, token);
    case "CKR_PIN_LOCKED":
      return pinLocked(description);
    case "CKR_FUNCTION_REJECTED":
    case "CKR_FUNCTION_CANCELED":
    case "CKR_CANCEL":
      return new Failure(
        "user-refused",
        `The signature was refused at the token ${name}.`,
        retryHint,
      );
    default:
      return libraryFailed(`The token ${name} failed to sign`, error);
  }
}

/** The token refuses all mechanisms for an algorithm. Some have SHA-256 as their only hash. */
function algorithmRefused(token: TokenDescription, algorithm: SignatureAlgorithm): Failure {
  const sentence = `The token ${tokenName(token)} refuses to sign with ${algorithm} and this key.`;
  const otherHash =
    "Test with ssh-add -T FILE.pub whether it signs with rsa-sha2-256. If so, put this into ~/.ssh/config: PubkeyAcceptedAlgorithms -rsa-sha2-512*";
  return new Failure(
    "unsupported",
    sentence,
    algorithm === "rsa-sha2-512" ? otherHash : otherKeyHint,
  );
}

/** The private key has CKA_SIGN false, which shows only after the login. */
export function keyDoesNotSign(token: TokenDescription): Failure {
  const sentence = `This key of the token ${tokenName(token)} cannot sign.`;
  const hint = "Use another key. With its PIN, the token lists only keys that sign: ssh-add -s LIB";
  return new Failure("unsupported", sentence, hint);
}

/** The token no longer lists the private key. */
export function keyGone(token: TokenDescription): Failure {
  return new Failure("key-not-found", `The token ${tokenName(token)} no longer has this key.`);
}

/** None of the token's keys matches the PKCS#11 URI. @param leftOut what it has besides keys */
export function noKeyMatches(token: TokenDescription, leftOut: readonly LeftOut[]): Failure {
  const what = `The token ${tokenName(token)} has no signing key that the PKCS#11 URI matches`;
  const sentence = leftOut.length > 0 ? `${what}; left out: ${enumerate(leftOut)}.` : `${what}.`;
  const hint = "Leave out object and id to load all of its keys, and compare with: ssh-add -l";
  return new Failure("no-usable-key", sentence, hint);
}

/** The number of keys that `noChosenKey` names. */
const maxKeys = 8;

/** None of the token's keys is among those that the client has chosen. @param keys the others */
export function noChosenKey(
  token: TokenDescription,
  keys: readonly { readonly keyBlob: Buffer; readonly label: string }[],
): Failure {
  const names = keys.slice(0, maxKeys).map(({ keyBlob, label }) => {
    return `${fingerprint(keyBlob)} (${label || "no label"})`;
  });
  const more = keys.length > maxKeys ? " and more" : "";
  const sentence = `The token ${tokenName(token)} has none of the chosen keys.`;
  return new Failure("key-not-found", sentence, `It has ${names.join(", ")}${more}.`);
}

/**
 * The token has no usable key.
 * @param leftOut its keys and certificates
 * @param others its other objects, such as "2 data objects"
 */
export function noUsableKey(
  token: TokenDescription,
  leftOut: readonly LeftOut[],
  others: readonly string[],
): Failure {
  const what = `The token ${tokenName(token)} has no key that signs`;
  if (leftOut.length === 0) {
    const only = others.length > 0 ? `, only ${others.join(", ")}` : "";
    return new Failure("no-usable-key", `${what}: it shows no keys and no certificates${only}.`);
  }
  const hint =
    "SSH needs an RSA, ECDSA or Ed25519 key that may sign, with its private key on the token. Look with the vendor's tool which of them it has.";
  return new Failure("no-usable-key", `${what}, but: ${enumerate(leftOut)}.`, hint);
}

/** The number of objects that a sentence names. */
const maxNamed = 4;

function enumerate(leftOut: readonly LeftOut[]): string {
  const named = leftOut.slice(0, maxNamed).map(({ object, reason }) => `${object} (${reason})`);
  if (leftOut.length > maxNamed) named.push(`${leftOut.length - maxNamed} more`);
  return named.join("; ");
}

/**
 * The library shows no token with CKF_TOKEN_INITIALIZED, and none of the others has a usable key.
 * @param seen what was found instead: a sentence
 */
export function noInitializedToken(path: string, seen: string): Failure {
  const hint =
    "Check that this is the right library with the right configuration. If the token is new, initialize it with the vendor's tool; that erases what it holds.";
  return new Failure("no-token", `The library ${path} sees no initialized token. ${seen}`, hint);
}

/**
 * @param now the token's state after it refused the PIN
 * @param why more of the sentence
 */
function wrongPin(token: TokenDescription, now: SlotToken | undefined, why = ""): Failure {
  if (now !== undefined && hasFlag(now, pkcs11js.CKF_USER_PIN_LOCKED)) return pinLocked(token);
  const sentence = `The token ${tokenName(token)} refused the PIN${why}`;
  if (now !== undefined && hasFlag(now, pkcs11js.CKF_USER_PIN_FINAL_TRY)) {
    return new Failure("pin-last-try", `${sentence}, and one try is left.`);
  }
  return new Failure("pin-incorrect", `${sentence}.`);
}

/** The token takes no PIN of this length, so it was not tried. @param max characters */
export function pinTooLong(token: TokenDescription, max: number): Failure {
  const sentence = `The PIN is too long and was not tried; the token ${tokenName(token)} takes at most ${max} characters.`;
  return new Failure("pin-incorrect", sentence);
}

/** The lengths of a token's PINs, in parentheses; empty if they are not known. */
function takenLengths(lengths: PinLengths | undefined): string {
  if (lengths === undefined) return "";
  const { min, max } = lengths;
  return ` (it takes ${min === max ? max : `${min} to ${max}`} characters)`;
}

/** The token's PIN is locked. */
export function pinLocked(token: TokenDescription): Failure {
  return new Failure("pin-locked", `The PIN of the token ${tokenName(token)} is locked.`);
}
