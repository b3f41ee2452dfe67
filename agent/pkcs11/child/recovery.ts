/**
 * The recovery table: the steps after a token fails to sign.
 *
 * After a card was removed, reset or used by another program, libraries differ in their errors and
 * in what helps: libykcs11 fails with CKR_DEVICE_ERROR until its slots are listed, or until it
 * restarts; OpenSC's loses its sessions; both still report a login that the card has lost. One
 * error proves nothing, so each step is tried once, the cheapest first.
 */
import { Failure } from "../../../protocol/failure.ts";
import { returnValue } from "./cryptoki.ts";

/** How a failed attempt at a signature ended. */
export type Seen =
  /** A failure, or a CKR_ value that a retry would repeat. */
  | "final"
  /** An error after seconds, as when the user does not touch the token. */
  | "no-touch"
  /** CKR_USER_NOT_LOGGED_IN, even if the library reports a login. */
  | "login-required"
  /** The session, the key or the token is gone. */
  | "session-lost"
  /** The library may have lost its connection to the token. */
  | "device-error"
  /** A device error of a context-specific login: the token may have checked the PIN. */
  | "pin-may-be-spent"
  /** Any other CKR_ value: some libraries return a wrong one while a card is being inserted. */
  | "other";

/**
 * The next step. The first three open new sessions; "restart" first ends all sessions.
 * "log-in-for-one" logs in for the signature, as for a key with CKA_ALWAYS_AUTHENTICATE.
 */
export type RecoveryStep = "reopen" | "login" | "restart" | "log-in-for-one" | "give-up";

/** The state of a signature after a failed attempt. */
export interface Situation {
  readonly seen: Seen;
  /** The last step taken. */
  readonly tried: RecoveryStep | undefined;
  /** Whether any attempt ended in a device error. */
  readonly hadDeviceError: boolean;
  /** Whether a PIN is available, or the token has its own PIN pad. */
  readonly canLogIn: boolean;
  /**
   * Whether a login for the signature may help: the token accepted the PIN of the last login, and the
   * key was used without a login of its own.
   */
  readonly canLogInForOne: boolean;
  /** Whether the token reports a wrong PIN. Calls the library. */
  readonly hasSeenWrongPin: () => boolean;
}

interface Row {
  readonly seen: readonly Seen[];
  /** The last step taken; undefined before the first. */
  readonly after: readonly (RecoveryStep | undefined)[];
  readonly when?: (situation: Situation) => boolean;
  readonly step: RecoveryStep;
}

/** The first matching row decides; without one, give up. */
const table: readonly Row[] = [
  // libykcs11 sends its cached PIN to a card that was reset. If the card refuses it, the library
  // holds the card exclusively until it restarts.
  {
    seen: ["login-required"],
    after: ["reopen", "login"],
    when: ({ hadDeviceError, hasSeenWrongPin }) => hadDeviceError && hasSeenWrongPin(),
    step: "restart",
  },
  // The card has lost its login, even if the library reports one: C_Logout, then C_Login.
  {
    seen: ["login-required"],
    after: [undefined, "reopen"],
    when: ({ canLogIn }) => canLogIn,
    step: "login",
  },
  // Right after a login: the key requires one for each signature, and does not say so.
  {
    seen: ["login-required"],
    after: ["login"],
    when: ({ canLogInForOne }) => canLogInForOne,
    step: "log-in-for-one",
  },
  // Without a PIN: new sessions may have the login that the old ones lost.
  { seen: ["login-required"], after: [undefined], step: "reopen" },
  // Restart at once: after "reopen", the PIN would be sent once more, mostly in vain.
  { seen: ["pin-may-be-spent"], after: [undefined], step: "restart" },
  // Removal or reset of the card ends its sessions; listing the slots makes libraries look again.
  { seen: ["session-lost", "device-error", "other"], after: [undefined], step: "reopen" },
  // New sessions fail, too: the library does not reconnect to the card by itself.
  {
    seen: ["session-lost", "device-error", "pin-may-be-spent"],
    after: ["reopen", "login"],
    step: "restart",
  },
];

/** The next step for a signature. */
export function nextRecoveryStep(situation: Situation): RecoveryStep {
  const row = table.find(
    ({ seen, after, when }) =>
      seen.includes(situation.seen) &&
      after.includes(situation.tried) &&
      (when === undefined || when(situation)),
  );
  return row?.step ?? "give-up";
}

/** Classifies an error. @param waited whether C_Sign took long enough to have awaited a touch */
export function classify(error: unknown, waited: boolean): Seen {
  if (error instanceof Failure || !isRetryable(error)) return "final";
  if (isSessionLost(error)) return "session-lost";
  if (waited) return "no-touch";
  if (wantsLogin(error)) return "login-required";
  if (error instanceof PinMayBeSpent) return "pin-may-be-spent";
  return isDeviceError(error) ? "device-error" : "other";
}

/** A device error of C_Login, after which the token may or may not have checked the PIN. */
export class PinMayBeSpent extends Error {
  /** @param error the library's, whose message (the CKR_ value) is kept */
  constructor(error: unknown) {
    super(error instanceof Error ? error.message : "");
  }
}

/** CKR_ values for a session, key or token that is gone. */
const sessionLostValues: ReadonlySet<string | undefined> = new Set([
  "CKR_TOKEN_NOT_PRESENT",
  "CKR_DEVICE_REMOVED",
  "CKR_SLOT_ID_INVALID",
  "CKR_SESSION_HANDLE_INVALID",
  "CKR_SESSION_CLOSED",
  "CKR_KEY_HANDLE_INVALID",
  "CKR_OBJECT_HANDLE_INVALID",
  "CKR_CRYPTOKI_NOT_INITIALIZED",
]);

/** CKR_ values of libraries that have lost their connection to the card, among other causes. */
const deviceErrorValues: ReadonlySet<string | undefined> = new Set([
  "CKR_DEVICE_ERROR",
  "CKR_GENERAL_ERROR",
  "CKR_FUNCTION_FAILED",
]);

/** CKR_ values that refuse a mechanism or its input: another mechanism may do. */
const mechanismRefusals: ReadonlySet<string | undefined> = new Set([
  "CKR_MECHANISM_INVALID",
  "CKR_MECHANISM_PARAM_INVALID",
  "CKR_KEY_TYPE_INCONSISTENT",
  "CKR_KEY_FUNCTION_NOT_PERMITTED",
  "CKR_KEY_SIZE_RANGE",
  "CKR_DATA_LEN_RANGE",
  "CKR_DATA_INVALID",
  "CKR_FUNCTION_NOT_SUPPORTED",
]);

/** Whether the token refuses the mechanism or its input for this key. */
export function refusesMechanism(error: unknown): boolean {
  return mechanismRefusals.has(returnValue(error));
}

/** CKR_ values that refuse the private key: another one may be the right one. */
const keyRefusals: ReadonlySet<string | undefined> = new Set([
  "CKR_KEY_TYPE_INCONSISTENT",
  "CKR_KEY_FUNCTION_NOT_PERMITTED",
  "CKR_KEY_SIZE_RANGE",
]);

/** Whether the token refuses to sign with this private key. */
export function refusesKey(error: unknown): boolean {
  return keyRefusals.has(returnValue(error));
}

/** Whether the token may take the same input in parts. */
export function refusesLength(error: unknown): boolean {
  return returnValue(error) === "CKR_DATA_LEN_RANGE";
}

/** Other CKR_ values that a retry would repeat. */
const finalValues: ReadonlySet<string | undefined> = new Set([
  "CKR_FUNCTION_REJECTED",
  "CKR_FUNCTION_CANCELED",
  "CKR_CANCEL",
  "CKR_BUFFER_TOO_SMALL",
  "CKR_PIN_LOCKED",
]);

/**
 * Whether a retry may succeed. CKR_KEY_TYPE_INCONSISTENT is retried: OpenSC's library returns it
 * while it reads a newly inserted card.
 */
export function isRetryable(error: unknown): boolean {
  const value = returnValue(error);
  if (value === "CKR_KEY_TYPE_INCONSISTENT") return true;
  return !finalValues.has(value) && !mechanismRefusals.has(value);
}

/** Whether the error is CKR_USER_NOT_LOGGED_IN. */
export function wantsLogin(error: unknown): boolean {
  return returnValue(error) === "CKR_USER_NOT_LOGGED_IN";
}

/** Whether the session, the key or the token is gone, so that new sessions may help. */
export function isSessionLost(error: unknown): boolean {
  return sessionLostValues.has(returnValue(error));
}

/** Whether the library may have lost its connection to the token. */
export function isDeviceError(error: unknown): boolean {
  return isSessionLost(error) || deviceErrorValues.has(returnValue(error));
}
