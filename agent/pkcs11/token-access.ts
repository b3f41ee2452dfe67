/** The way to a token: where it is, its sessions, its login, and how they are had again. */
import type { ProviderState, TokenDescription } from "../../protocol/extensions/list-providers.ts";
import { Failure } from "../../protocol/failure.ts";
import { type Handle, libraryFailed, returnValue } from "./cryptoki.ts";
import type { KnownToken, LoginKind } from "./inventory.ts";
import type { KeptPin } from "./kept-pin.ts";
import type { Module } from "./module.ts";
import { pinRequired, tokenRemoved } from "./refusals.ts";
import { closeSession, openSession, SessionPool } from "./session-pool.ts";
import { hasSeenWrongPin, type SlotToken, tokenName } from "./slot-token.ts";
import { isLoggedIn, locateToken, logIn } from "./tokens.ts";

/** How a token's sessions are had again. */
export interface Renewal {
  /** The sessions that did not work, if there were any. */
  readonly failed: SessionPool | undefined;
  /**
   * What to do besides opening sessions: log in also when the library says that this was done, since
   * the card may have forgotten it; or start the library again, which may have lost the card.
   */
  readonly also: "nothing" | "login" | "restart";
  /** The PIN for a login, or empty. */
  readonly pin: Buffer;
}

/** A token that was found in its slot, and the first session with it. */
interface Opened {
  readonly found: SlotToken;
  readonly session: Handle;
}

const nothing = Buffer.alloc(0);

/** The way to one token. */
export class TokenAccess implements KnownToken {
  readonly description: TokenDescription;
  readonly login: LoginKind;
  readonly #module: Module;
  readonly #kept: KeptPin;
  /** The ways to the library's other tokens, which a restart would cut off. */
  readonly #all: Set<TokenAccess>;
  #slot: Handle | undefined;
  #pool: SessionPool | undefined;
  #renewing: Promise<void> | undefined;
  /** The card has refused for want of a login, whatever its library says. */
  #isLoginLost = false;
  /** A login was made, or seen, in these sessions. */
  #hasLoggedIn = false;
  /** A key has signed in these sessions, though nobody had logged in. */
  #signsWithoutLogin = false;

  constructor(module: Module, token: KnownToken, kept: KeptPin, all: Set<TokenAccess>) {
    this.#module = module;
    this.description = token.description;
    this.login = token.login;
    this.#kept = kept;
    this.#all = all;
    all.add(this);
  }

  /** Takes over the session in which the token was found. @param pin that it accepted, or empty */
  begin({ found, session }: Opened, pin: Buffer): void {
    this.#slot = found.slot;
    this.#pool = new SessionPool(this.#module, found.slot, session);
    this.#kept.keep(pin);
    this.#hasLoggedIn = pin.length > 0;
  }

  /** The token's sessions, unless they are known to be of no use. */
  get pool(): SessionPool | undefined {
    return this.#pool?.generation === this.#module.generation ? this.#pool : undefined;
  }

  /** Whether a login can be made without asking anybody but the token. @param pin or empty */
  canLogIn(pin: Buffer): boolean {
    return this.login === "pad" || (this.login === "pin" && this.pinFor(pin) !== undefined);
  }

  /** The PIN that was given, or the one that is kept. */
  pinFor(given: Buffer): Buffer | undefined {
    return given.length > 0 ? given : this.#kept.pin;
  }

  /** Notes that a key has signed in the sessions there are. */
  noteSigned(): void {
    if (!this.#hasLoggedIn) this.#signsWithoutLogin = true;
  }

  /** Notes that the card wants a login. */
  noteLoginLost(): void {
    this.#isLoginLost = true;
  }

  /** Keeps a PIN that the token has accepted, if PINs are kept. */
  keep(pin: Buffer): void {
    this.#kept.keep(pin);
  }

  /** Overwrites the PIN that is kept. */
  forget(): void {
    this.#kept.forget();
  }

  /** What the token can do now. It asks the library unless that is busy with the token. */
  async state(): Promise<ProviderState> {
    if (this.#renewing !== undefined || this.pool?.busy) return "ready";
    const now = await this.#locate();
    if (now === undefined) return "card-absent";
    if (this.login !== "pin" || this.#signsWithoutLogin) return "ready";
    if (this.#usablePin(now, nothing) !== undefined) return "ready";
    const session = this.pool?.idle;
    if (session === undefined || this.#isLoginLost) return "pin-needed";
    return isLoggedIn(this.#module, session) ? "ready" : "pin-needed";
  }

  /**
   * Opens the token's sessions again, wherever the token is now, and logs in where that goes without
   * asking for a PIN. Those who ask for it at the same time get the same new sessions.
   * @throws {Failure} token-removed, pin-required (with "login" only), what `logIn` throws
   */
  async renew(renewal: Renewal): Promise<void> {
    while (this.#renewing !== undefined) await this.#renewing.catch(() => {});
    const { pool } = this;
    if (pool !== undefined && pool !== renewal.failed) return;
    this.#renewing = this.#renew(renewal).finally(() => {
      this.#renewing = undefined;
    });
    await this.#renewing;
  }

  async #renew({ also, pin }: Renewal): Promise<void> {
    const { found, session } = await this.#reopen(also === "restart");
    let hasLoggedIn: boolean;
    try {
      hasLoggedIn = await this.#logInAgain(found, session, also === "login", pin);
    } catch (error) {
      closeSession(this.#module.cryptoki, session);
      throw error;
    }
    this.#pool?.close();
    this.#slot = found.slot;
    this.#pool = new SessionPool(this.#module, found.slot, session);
    this.#hasLoggedIn = hasLoggedIn;
    this.#signsWithoutLogin = false;
  }

  /** @param restart whether the library is started again in any case, if that may be */
  async #reopen(restart: boolean): Promise<Opened> {
    if (restart && this.#mayRestart()) await this.#module.restart();
    const found = await this.#locate();
    if (found === undefined) throw tokenRemoved(this.description);
    try {
      return { found, session: openFirst(this.#module, found) };
    } catch (error) {
      if (restart || !this.#mayRestart()) throw error;
      return this.#reopen(true);
    }
  }

  /** @returns whether the session is logged in */
  async #logInAgain(
    found: SlotToken,
    session: Handle,
    relogin: boolean,
    given: Buffer,
  ): Promise<boolean> {
    if (this.login === "none") return false;
    if (!relogin && isLoggedIn(this.#module, session)) return true;
    if (this.login === "pin" && this.#usablePin(found, given) === undefined) {
      if (relogin) throw pinRequired(this.description, found);
      return false;
    }
    if (relogin) logOut(this.#module, session);
    if (this.login === "pad") await logIn(this.#module, found, session, null);
    else await this.#logInWithPin(found, session, given);
    this.#isLoginLost = false;
    return true;
  }

  /** The bytes that the library gets are its own: what is kept may be overwritten at any time. */
  async #logInWithPin(found: SlotToken, session: Handle, given: Buffer): Promise<void> {
    const pin = Buffer.from(this.#usablePin(found, given) ?? given);
    try {
      await logIn(this.#module, found, session, pin);
      this.#kept.keep(given);
    } catch (error) {
      this.#kept.forget();
      if (given.length === 0 && error instanceof Failure && pinRefusals.has(error.code)) {
        throw pinRequired(this.description, this.#look()); // nobody has just typed a wrong one
      }
      throw error;
    } finally {
      pin.fill(0);
    }
  }

  /** A PIN that is kept is not tried once the card has seen a wrong one: it may be that. */
  #usablePin(found: SlotToken, given: Buffer): Buffer | undefined {
    if (given.length > 0) return given;
    return hasSeenWrongPin(found) ? undefined : this.#kept.pin;
  }

  /** The token where it is now. A library that does not see it may have to be started again. */
  async #locate(): Promise<SlotToken | undefined> {
    await this.#module.restarting;
    try {
      const found = this.#look();
      if (found !== undefined || !this.#mayRestart()) return found;
    } catch (error) {
      if (!this.#mayRestart()) throw error;
      await this.#module.restart();
      return this.#look();
    }
    // It saw no token, which may be the truth: then a library that does not start again is no news.
    await this.#module.restart().catch(() => {});
    try {
      return this.#look();
    } catch {
      return undefined;
    }
  }

  #look(): SlotToken | undefined {
    if (this.#module.isDown) return undefined;
    const { token, isReplaced } = locateToken(this.#module, this.description, this.#slot);
    if (isReplaced) this.#kept.forget();
    return token;
  }

  /** A restart ends the logins of all tokens, and nobody likes to type a PIN for another card. */
  #mayRestart(): boolean {
    return [...this.#all].every((other) => other === this || !other.#wouldLose());
  }

  #wouldLose(): boolean {
    const session = this.pool?.idle;
    if (this.login === "none" || this.#kept.pin !== undefined) return false;
    return this.pool?.busy === true || (session !== undefined && isLoggedIn(this.#module, session));
  }
}

const pinRefusals: ReadonlySet<string> = new Set(["pin-incorrect", "pin-last-try"]);

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
    throw libraryFailed(`The card ${tokenName(token.description)} opens no session`, error);
  }
}

function logOut({ cryptoki }: Module, session: Handle): void {
  try {
    cryptoki.C_Logout(session);
  } catch {
    // it was not logged in, then
  }
}
