/** A token's user (CKU_USER): whether they are logged in, and their PIN as far as that is kept. */
import type { KnownToken } from "../inventory.ts";
import type { Handle } from "./cryptoki.ts";
import type { KeptPin } from "./kept-pin.ts";
import type { Module } from "./module.ts";
import { PinFlags } from "./pin-flags.ts";
import { isLibraryFailure, isPinRefusal, isTokenRemoved, pinRequired } from "./refusals.ts";
import { hasSeenWrongPin, type SlotToken } from "./slot-token.ts";
import type { TokenKey } from "./token-keys.ts";
import { isLoggedIn, logIn, readToken } from "./tokens.ts";

/** The user of one token. */
export class TokenUser {
  /** What the token tells of wrong PINs. */
  readonly pinFlags: PinFlags;
  readonly #module: Module;
  readonly #token: KnownToken;
  readonly #kept: KeptPin;
  /** The card has refused for want of a login, whatever its library says. */
  #isLoginLost = false;
  /** A login was made, or seen, in the sessions there are. */
  #hasLoggedIn = false;
  /** The keys that have signed in these sessions, though nobody had logged in. */
  readonly #signWithoutLogin = new Set<TokenKey>();
  #keys = Number.POSITIVE_INFINITY;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(module: Module, token: KnownToken, kept: KeptPin) {
    this.#module = module;
    this.pinFlags = new PinFlags(module);
    this.#token = token;
    this.#kept = kept;
  }

  /** Whether a login can be made without asking anybody but the token. @param pin or empty */
  canLogIn(pin: Buffer): boolean {
    const { login } = this.#token;
    return (
      login === "protected-path" ||
      (login === "pin" && (pin.length > 0 || this.#kept.pin !== undefined))
    );
  }

  /**
   * Whether the token signs, as far as its login goes.
   * @param now the token as it is now
   * @param session with the token, if there is any
   */
  isReady(now: SlotToken, session: Handle | undefined): boolean {
    if (this.#token.login !== "pin" || this.#signWithoutLogin.size >= this.#keys) return true;
    if (this.keptPinFor(now) !== undefined) return true;
    return session !== undefined && !this.#isLoginLost && isLoggedIn(this.#module, session);
  }

  /** Whether they would have to be asked for the PIN, were the login lost. */
  get isAskedAnew(): boolean {
    return this.#token.login !== "none" && this.#kept.pin === undefined;
  }

  /**
   * The PIN that is kept, which is not the caller's to change. A card that has seen a wrong one is
   * not given it: it may be what was wrong, for some libraries keep it and try it by themselves.
   * @param now the token as it is now
   */
  keptPinFor(now: SlotToken): Buffer | undefined {
    return hasSeenWrongPin(now) ? undefined : this.#kept.pin;
  }

  /**
   * Notes whether a login was made when the token was found.
   * @param found as it was before
   * @param pin to keep, or empty
   */
  noteFirstLogin(found: SlotToken, hasLoggedIn: boolean, pin: Buffer): void {
    this.#hasLoggedIn = hasLoggedIn;
    this.pinFlags.read(found);
    if (pin.length > 0) this.pinFlags.noteAccepted(found);
    this.#kept.keep(pin);
  }

  /** Notes how many keys the token has. */
  noteKeys(count: number): void {
    this.#keys = count;
  }

  /** Notes that a key has signed in the sessions there are. */
  noteSigned(key: TokenKey): void {
    if (!this.#hasLoggedIn) this.#signWithoutLogin.add(key);
  }

  /** Whether they are logged in, as far as is known. */
  get isLoggedIn(): boolean {
    return this.#hasLoggedIn && !this.#isLoginLost;
  }

  /** Notes that the card wants a login. */
  noteLoginLost(): void {
    this.#isLoginLost = true;
  }

  /**
   * Makes one login after another: a kept PIN that is wrong is found out by the first of them, and
   * those who would have tried it too must see that it is gone.
   */
  inTurn<Result>(login: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(login);
    this.#turn = result.catch(() => {});
    return result;
  }

  /** As `KeptPin.beforeLogin`. */
  beforeLogin(): (pin: Buffer) => void {
    return this.#kept.beforeLogin();
  }

  /** Overwrites the PIN that is kept. */
  forget(): void {
    this.#kept.forget();
  }

  /**
   * Logs in a new session, where that goes without asking for a PIN.
   * @param found the token as it is now
   * @param relogin whether to log in also when the library says that this was done
   * @param given the PIN, or empty
   * @returns whether a login was made
   * @throws {Failure} pin-required (with `relogin` only), what `logIn` throws
   */
  logInAgain(found: SlotToken, session: Handle, relogin: boolean, given: Buffer): Promise<boolean> {
    return this.inTurn(() => this.#logInAgain(found, session, relogin, given));
  }

  async #logInAgain(
    found: SlotToken,
    session: Handle,
    relogin: boolean,
    given: Buffer,
  ): Promise<boolean> {
    const { login, description } = this.#token;
    this.#signWithoutLogin.clear();
    this.#hasLoggedIn = login !== "none" && !relogin && isLoggedIn(this.#module, session);
    if (login === "none" || this.#hasLoggedIn) return false;
    // The bytes that the library gets are its own: what is kept may be overwritten at any time.
    const usable = login === "protected-path" ? undefined : this.#usablePin(found, given);
    const pin = usable && Buffer.from(usable);
    if (login === "pin" && pin === undefined) {
      if (relogin) throw pinRequired(description, found);
      return false;
    }
    if (relogin) logOut(this.#module, session);
    if (pin === undefined) await logIn(this.#module, found, session, null);
    else await this.#logInWithPin(found, session, pin, given);
    this.#hasLoggedIn = true;
    this.#isLoginLost = false;
    return true;
  }

  /** @param pin overwritten afterwards @param given the same, or empty for a kept one */
  async #logInWithPin(
    found: SlotToken,
    session: Handle,
    pin: Buffer,
    given: Buffer,
  ): Promise<void> {
    const keep = this.#kept.beforeLogin();
    try {
      if (!(await logIn(this.#module, found, session, pin))) return;
      keep(given);
      this.pinFlags.noteAccepted(found);
    } catch (error) {
      // A card that was pulled out has refused nothing.
      if (!isTokenRemoved(error)) this.#kept.forget();
      // Nobody has just typed a wrong one, and what disturbed the login may be over.
      if (given.length === 0 && (isPinRefusal(error) || isLibraryFailure(error))) {
        throw pinRequired(found.description, readToken(this.#module.cryptoki, found.slot));
      }
      throw error;
    } finally {
      pin.fill(0);
    }
  }

  #usablePin(found: SlotToken, given: Buffer): Buffer | undefined {
    return given.length > 0 ? given : this.keptPinFor(found);
  }
}

function logOut({ cryptoki }: Module, session: Handle): void {
  try {
    cryptoki.C_Logout(session);
  } catch {
    // it was not logged in, then
  }
}
