/** The sessions with one token, for concurrent signatures. */
import { type Cryptoki, type Handle, libraryFailed, pkcs11js, returnValue } from "./cryptoki.ts";
import { tokenRemoved } from "./failures.ts";
import type { Module } from "./module.ts";
import { isSessionLost } from "./recovery.ts";
import { type PresentToken, type SlotToken, tokenName } from "./slots.ts";

/** CKF_REMOVABLE_DEVICE, which `pkcs11js` does not declare. */
const removableDevice = 2;

/** The default size of Node.js's thread pool, on which C_Sign runs. */
const maxSessions = 4;

/**
 * Up to four sessions, opened on demand; fewer if the token allows fewer, and one for a card in a
 * reader, which runs one operation at a time and may be slow to open another session. All sessions
 * share the login, which ends with the last of them (PKCS#11 v3.0, section 5.6), so one always
 * stays open.
 */
export class SessionPool {
  /** The library's generation in which the sessions were opened. */
  readonly #generation: number;
  readonly #module: Module;
  readonly #slot: Handle;
  /** Whether the token is a card in a reader. */
  readonly isCard: boolean;
  readonly #idle: Handle[];
  readonly #waiting: ((session: Handle) => void)[] = [];
  /** Identifies the token's last C_Login when the sessions were opened. */
  readonly login: symbol;
  #open = 1;
  #max: number;
  #closed = false;

  /** @param first an open session of the token in `slot` */
  constructor(module: Module, slot: Handle, first: Handle, login: symbol) {
    this.login = login;
    this.#module = module;
    this.isCard = isRemovable(module.cryptoki, slot);
    this.#max = this.isCard ? 1 : maxSessions;
    this.#generation = module.generation;
    this.#slot = slot;
    this.#idle = [first];
  }

  /** False after a restart, when the handles may denote other tokens' sessions. */
  get isCurrent(): boolean {
    return this.#generation === this.#module.generation;
  }

  /** Whether the sessions can be used. */
  get isOpen(): boolean {
    return this.isCurrent && !this.#closed;
  }

  /** Whether a signature is in progress. */
  get busy(): boolean {
    return this.#idle.length < this.#open;
  }

  /** An idle session, if there is one. */
  get idle(): Handle | undefined {
    return this.#idle[0];
  }

  /** A session for exclusive use until `release` or `replace`. */
  take(): Handle | Promise<Handle> {
    const session = this.#idle.pop() ?? this.#openAnother();
    if (session !== undefined) return session;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Returns a session. */
  release(session: Handle): void {
    const next = this.#waiting.shift();
    if (next !== undefined) next(session);
    else if (this.#closed) this.#close(session);
    else this.#idle.push(session);
  }

  /** Returns a session on which a call failed; a new one takes its place, if one can be opened. */
  replace(session: Handle): void {
    const fresh = this.#tryOpen();
    if (fresh === undefined) {
      this.release(session);
      return;
    }
    this.#close(session);
    this.release(fresh);
  }

  /** Closes the sessions as they become idle. Pending `take`s still get one, which fails. */
  close(): void {
    this.#closed = true;
    const idle = this.#idle.splice(0);
    for (const session of idle) this.#close(session);
  }

  #openAnother(): Handle | undefined {
    if (this.#open >= this.#max) return undefined;
    const session = this.#tryOpen();
    if (session === undefined) this.#max = this.#open;
    else this.#open++;
    return session;
  }

  #close(session: Handle): void {
    if (this.isCurrent) closeSession(this.#module.cryptoki, session);
  }

  #tryOpen(): Handle | undefined {
    if (!this.isCurrent) return undefined;
    return attempt(() => openSession(this.#module, this.#slot));
  }
}

/** Whether the slot's device is removable: a card reader. */
function isRemovable(cryptoki: Cryptoki, slot: Handle): boolean {
  try {
    return (cryptoki.C_GetSlotInfo(slot).flags & removableDevice) !== 0;
  } catch {
    return false;
  }
}

const readOnly = pkcs11js.CKF_SERIAL_SESSION;
const readWrite = pkcs11js.CKF_SERIAL_SESSION | pkcs11js.CKF_RW_SESSION;

/** CKR_ values of C_OpenSession that are the same for both kinds of sessions. */
const commonRefusals: ReadonlySet<string | undefined> = new Set([
  "CKR_SESSION_COUNT",
  "CKR_TOKEN_NOT_PRESENT",
  "CKR_TOKEN_NOT_RECOGNIZED",
  "CKR_DEVICE_REMOVED",
  "CKR_DEVICE_ERROR",
  "CKR_DEVICE_MEMORY",
  "CKR_HOST_MEMORY",
  "CKR_SLOT_ID_INVALID",
  "CKR_CRYPTOKI_NOT_INITIALIZED",
]);

/**
 * Opens a read-only session, or a read-write one with a token that refuses that: some know one kind
 * only. The first try is what worked with the last token in the slot.
 * @throws the library's error for the first try
 */
export function openSession({ cryptoki, sessionFlags }: Module, slot: Handle): Handle {
  const place = slot.toString("hex");
  const first = sessionFlags.get(place) ?? readOnly;
  try {
    return cryptoki.C_OpenSession(slot, first);
  } catch (error) {
    if (commonRefusals.has(returnValue(error))) throw error;
    const second = first === readOnly ? readWrite : readOnly;
    const session = attempt(() => cryptoki.C_OpenSession(slot, second));
    if (session === undefined) throw error;
    sessionFlags.set(place, second);
    return session;
  }
}

/**
 * Opens the first session with a token.
 * @throws {Failure} token-removed, module-crashed
 */
export function openFirst(module: Module, token: SlotToken): Handle {
  try {
    return openSession(module, token.slot);
  } catch (error) {
    const value = returnValue(error);
    if (value === "CKR_TOKEN_NOT_PRESENT" || value === "CKR_DEVICE_REMOVED") {
      throw tokenRemoved(token.description);
    }
    throw libraryFailed(`The token ${tokenName(token.description)} opens no session`, error);
  }
}

/** Closes a session. Errors are ignored: an unknown session is already closed. */
export function closeSession(cryptoki: Cryptoki, session: Handle): void {
  try {
    cryptoki.C_CloseSession(session);
  } catch {
    // ignored
  }
}

/**
 * Sessions that are opened before they are needed, one with each token: some libraries read the
 * whole card at the first session, and some tokens allow no second one.
 */
export class FirstSessions {
  readonly #module: Module;
  readonly #open = new Map<string, Handle>();

  constructor(module: Module) {
    this.#module = module;
  }

  /** Keeps an open session for `take`. */
  keep(token: PresentToken, session: Handle): void {
    this.#open.set(placeOf(token), session);
  }

  /** A session with a token: the one that was kept, if it is still open. @throws as `openFirst` */
  take(token: PresentToken): Handle {
    const kept = this.#open.get(placeOf(token));
    this.#open.delete(placeOf(token));
    if (kept !== undefined && isOpen(this.#module, kept)) return kept;
    return openFirst(this.#module, token);
  }

  /** Closes those that nobody has taken. */
  close(): void {
    for (const session of this.#open.values()) closeSession(this.#module.cryptoki, session);
    this.#open.clear();
  }
}

function placeOf({ slot, identity }: PresentToken): string {
  return `${slot.toString("hex")} ${identity}`;
}

/** Whether a session still exists, as far as the library tells. */
function isOpen({ cryptoki }: Module, session: Handle): boolean {
  try {
    cryptoki.C_GetSessionInfo(session);
    return true;
  } catch (error) {
    return !isSessionLost(error);
  }
}

function attempt<Result>(call: () => Result): Result | undefined {
  try {
    return call();
  } catch {
    return undefined;
  }
}
