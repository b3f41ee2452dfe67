/** Sessions with one token, so that several signatures are made at once. */
import { type Cryptoki, type Handle, libraryFailed, pkcs11js, returnValue } from "./cryptoki.ts";
import { tokenRemoved } from "./failures.ts";
import type { Module } from "./module.ts";
import { type SlotToken, tokenName } from "./slots.ts";

/** CKF_REMOVABLE_DEVICE, which the types of `pkcs11js` lack. */
const removableDevice = 2;

/** As many as the threads that Node.js has for calls that block. */
const maxSessions = 4;

/**
 * Up to four sessions, opened when they are needed; fewer when the token has no more, and a single
 * one with a card in a reader, which does one thing at a time and may take long to open another. The
 * login of one is the login of all, and it ends with the last of them (PKCS#11 v3.0, section 5.6),
 * so there is always one.
 */
export class SessionPool {
  /** The generation of the library that the sessions are of. */
  readonly #generation: number;
  readonly #module: Module;
  readonly #slot: Handle;
  /** Whether the token is a card in a reader. */
  readonly isCard: boolean;
  readonly #idle: Handle[];
  readonly #waiting: ((session: Handle) => void)[] = [];
  /** The last C_Login with the token when these were opened; another one has another symbol. */
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

  /** After the library was started again, the same numbers may stand for sessions of others. */
  get isCurrent(): boolean {
    return this.#generation === this.#module.generation;
  }

  /** Whether a session is to be had of it. */
  get isOpen(): boolean {
    return this.isCurrent && !this.#closed;
  }

  /** Whether a signature is being made. */
  get busy(): boolean {
    return this.#idle.length < this.#open;
  }

  /** A session that nobody uses, while there are any. */
  get idle(): Handle | undefined {
    return this.#idle[0];
  }

  /** A session to use alone, until `release` or `replace`. */
  take(): Handle | Promise<Handle> {
    const session = this.#idle.pop() ?? this.#openAnother();
    if (session !== undefined) return session;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  /** Gives a session back. */
  release(session: Handle): void {
    const next = this.#waiting.shift();
    if (next !== undefined) next(session);
    else if (this.#closed) this.#close(session);
    else this.#idle.push(session);
  }

  /** Gives a session back on which something failed: a new one takes its place, if there is one. */
  replace(session: Handle): void {
    const fresh = this.#tryOpen();
    if (fresh === undefined) {
      this.release(session);
      return;
    }
    this.#close(session);
    this.release(fresh);
  }

  /** Closes the sessions as they become idle. Those who wait get one still, and see it fail. */
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
    try {
      return openSession(this.#module.cryptoki, this.#slot);
    } catch {
      return undefined;
    }
  }
}

/** Whether a slot is a reader for cards. */
function isRemovable(cryptoki: Cryptoki, slot: Handle): boolean {
  try {
    return (cryptoki.C_GetSlotInfo(slot).flags & removableDevice) !== 0;
  } catch {
    return false;
  }
}

/** Opens a session that only reads. @throws errors of the library */
export function openSession(cryptoki: Cryptoki, slot: Handle): Handle {
  return cryptoki.C_OpenSession(slot, pkcs11js.CKF_SERIAL_SESSION);
}

/**
 * Opens the first session with a token.
 * @throws {Failure} token-removed, module-crashed
 */
export function openFirst({ cryptoki }: Module, token: SlotToken): Handle {
  try {
    return openSession(cryptoki, token.slot);
  } catch (error) {
    const value = returnValue(error);
    if (value === "CKR_TOKEN_NOT_PRESENT" || value === "CKR_DEVICE_REMOVED") {
      throw tokenRemoved(token.description);
    }
    throw libraryFailed(`The token ${tokenName(token.description)} opens no session`, error);
  }
}

/** Closes a session; one that the library does not know any more is closed already. */
export function closeSession(cryptoki: Cryptoki, session: Handle): void {
  try {
    cryptoki.C_CloseSession(session);
  } catch {
    // nothing is left to close
  }
}
