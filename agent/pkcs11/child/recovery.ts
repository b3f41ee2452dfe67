/**
 * What is done when a token does not sign: the table of recovery.
 *
 * Libraries differ in what they say when a card was removed, reset or used by another program, and in
 * what helps: libykcs11 fails with CKR_DEVICE_ERROR until its slots are listed, or until it is started
 * again; OpenSC's loses its sessions; both go on to speak of a login that the card has forgotten. So
 * nothing is inferred from one error: each step is tried once, the one that costs least first.
 */
import { Failure } from "../../../protocol/failure.ts";
import { returnValue } from "./cryptoki.ts";

/** What one attempt at a signature ended with, if not with a signature. */
export type Seen =
  /** A failure, or a CKR_ value that another attempt would end with as well. */
  | "final"
  /** An error after seconds, as when nobody touches the token. */
  | "no-touch"
  /** CKR_USER_NOT_LOGGED_IN, whatever the library says of a login. */
  | "login-required"
  /** The session, the key or the token is gone. */
  | "session-lost"
  /** The library has lost the way to the token, perhaps. */
  | "device-error"
  /** The same at a login for one operation, and nobody knows whether the token saw the PIN. */
  | "pin-may-be-spent"
  /** Any other CKR_ value: some libraries give the wrong one while a card is inserted. */
  | "other";

/** What to do next. Each of the first three opens new sessions, and "restart" ends all of them. */
export type RecoveryStep = "reopen" | "login" | "restart" | "give-up";

/** What has become of a signature so far. */
export interface Situation {
  readonly seen: Seen;
  /** What was done before this was seen. */
  readonly tried: RecoveryStep | undefined;
  /** Whether the library had trouble with the way to the token, now or before. */
  readonly hadDeviceError: boolean;
  /** Whether a PIN is at hand, or the token asks for it itself. */
  readonly canLogIn: boolean;
  /** Whether the token has seen a wrong PIN. It asks the library. */
  readonly hasSeenWrongPin: () => boolean;
}

interface Row {
  readonly seen: readonly Seen[];
  /** Whether nothing was tried before; or what. */
  readonly after: readonly (RecoveryStep | undefined)[];
  readonly when?: (situation: Situation) => boolean;
  readonly step: RecoveryStep;
}

/** The first row that matches counts; where none does, nothing more is tried. */
const table: readonly Row[] = [
  // libykcs11 gives a card that was reset its PIN by itself. When that was refused, it holds the card
  // for itself until it is started again.
  {
    seen: ["login-required"],
    after: ["reopen", "login"],
    when: ({ hadDeviceError, hasSeenWrongPin }) => hadDeviceError && hasSeenWrongPin(),
    step: "restart",
  },
  // The card has forgotten its login, whatever the library says: C_Logout, then C_Login.
  {
    seen: ["login-required"],
    after: [undefined, "reopen"],
    when: ({ canLogIn }) => canLogIn,
    step: "login",
  },
  // Without a PIN, new sessions may have the login that those before have lost.
  { seen: ["login-required"], after: [undefined], step: "reopen" },
  // With new sessions, a library that has used the PIN up for nothing would be given it again: it
  // is not, more often than is of use.
  { seen: ["pin-may-be-spent"], after: [undefined], step: "restart" },
  // Sessions end with the card's removal or reset, and when slots are listed, libraries look at it.
  { seen: ["session-lost", "device-error", "other"], after: [undefined], step: "reopen" },
  // It is still so with new sessions: the library does not find the way to the card by itself.
  {
    seen: ["session-lost", "device-error", "pin-may-be-spent"],
    after: ["reopen", "login"],
    step: "restart",
  },
];

/** What to do next for a signature. */
export function nextRecoveryStep(situation: Situation): RecoveryStep {
  const row = table.find(
    ({ seen, after, when }) =>
      seen.includes(situation.seen) &&
      after.includes(situation.tried) &&
      (when === undefined || when(situation)),
  );
  return row?.step ?? "give-up";
}

/** What an error is for recovery. @param waited whether C_Sign took so long that a touch may lack */
export function classify(error: unknown, waited: boolean): Seen {
  if (error instanceof Failure || !isRetryable(error)) return "final";
  if (isSessionLost(error)) return "session-lost";
  if (waited) return "no-touch";
  if (wantsLogin(error)) return "login-required";
  if (error instanceof PinMayBeSpent) return "pin-may-be-spent";
  return isDeviceError(error) ? "device-error" : "other";
}

/** A device error of C_Login after which nobody knows whether the token has seen the PIN. */
export class PinMayBeSpent extends Error {
  /** @param error of the library; its text, which names the CKR_ value, stays */
  constructor(error: unknown) {
    super(error instanceof Error ? error.message : "");
  }
}

/** What a library says when a session, a key or the token itself is not what it was. */
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

/** What libraries say when they have lost the way to the card, among other things. */
const deviceErrorValues: ReadonlySet<string | undefined> = new Set([
  "CKR_DEVICE_ERROR",
  "CKR_GENERAL_ERROR",
  "CKR_FUNCTION_FAILED",
]);

/**
 * What a library says when another attempt would end the same. CKR_KEY_TYPE_INCONSISTENT is not among
 * them: OpenSC's says so while it reads a card that was just inserted.
 */
const finalValues: ReadonlySet<string | undefined> = new Set([
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

/** Whether another attempt may end otherwise. */
export function isRetryable(error: unknown): boolean {
  return !finalValues.has(returnValue(error));
}

/** Whether the library says that the token's user is not logged in. */
export function wantsLogin(error: unknown): boolean {
  return returnValue(error) === "CKR_USER_NOT_LOGGED_IN";
}

/** Whether an error tells that sessions are lost: they can be opened again. */
export function isSessionLost(error: unknown): boolean {
  return sessionLostValues.has(returnValue(error));
}

/** Whether an error may be that of a library which does not find the way to the token any more. */
export function isDeviceError(error: unknown): boolean {
  return isSessionLost(error) || deviceErrorValues.has(returnValue(error));
}
