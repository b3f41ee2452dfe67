/** Logging in to one token: C_Login in turn, the PIN that is cached for it, and what it tells of wrong PINs. */
import { Failure } from "../../../protocol/failure.ts";
import type { Clock } from "../../host/clock.ts";
import type { KnownToken } from "../messages.ts";
import { type Handle, pkcs11js, returnValue, sessionLost, userNotLoggedIn } from "./cryptoki.ts";
import { loginFailure, pinLocked, pinRequired, pinRequiredEachTime } from "./failures.ts";
import type { Module } from "./module.ts";
import { isDeviceError, PinMayBeSpent } from "./recovery.ts";
import { hasFlag, hasSeenWrongPin, readToken, type SlotToken, wrongPinFlags } from "./slots.ts";

/** What libraries say to a login for one operation before the token's user is logged in. */
const lacksLogin: ReadonlySet<string | undefined> = new Set([
  "CKR_USER_NOT_LOGGED_IN",
  "CKR_OPERATION_NOT_INITIALIZED",
]);

const pinRefusals: ReadonlySet<string> = new Set(["pin-incorrect", "pin-last-try"]);

/** Where a token is. */
interface Place {
  readonly slot: Handle;
  /** The token as it is now, if it is there. */
  tryLook(): SlotToken | undefined;
}

/** What came of logging in a session: nothing, a login that the library had already, or a new one. */
export type LoginResult = "none" | "kept" | "new";

/** The login of one token's user (CKU_USER). */
export class TokenLogin {
  readonly #module: Module;
  readonly #token: KnownToken;
  readonly #cache: PinCache;
  readonly #flags: WrongPinFlags;
  /** The login that was begun last: each waits for the one before. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(module: Module, token: KnownToken, cache: PinCache) {
    this.#module = module;
    this.#token = token;
    this.#cache = cache;
    this.#flags = new WrongPinFlags(module);
  }

  /** Whether a login can be made without asking anybody but the token. @param pin or empty */
  canLogIn(pin: Buffer): boolean {
    const { login } = this.#token;
    if (login === "protected-path") return true;
    return login === "pin" && (pin.length > 0 || this.#cache.pin !== undefined);
  }

  /** Whether a user would have to give the PIN again, were the login lost. */
  get needsUser(): boolean {
    return this.#token.login !== "none" && this.#cache.pin === undefined;
  }

  /** The token without what its flags tell of the past. @param token as its library shows it now */
  withoutPastFlags(token: SlotToken): SlotToken {
    return this.#flags.read(token);
  }

  /**
   * The PIN that is cached, which is not the caller's to change. A card that has seen a wrong one is
   * not given it: it may be what was wrong, for some libraries keep it and try it by themselves.
   * @param now the token as it is now
   */
  cachedPinFor(now: SlotToken): Buffer | undefined {
    return hasSeenWrongPin(now) ? undefined : this.#cache.pin;
  }

  /** Overwrites the PIN that is cached. */
  forgetPin(): void {
    this.#cache.forget();
  }

  /**
   * Logs in the first session with a token that was just found.
   * @param pin UTF-8, or empty
   * @throws {Failure} as `#logIn`
   */
  async logInFirst(found: SlotToken, session: Handle, pin: Buffer): Promise<LoginResult> {
    const { login } = this.#token;
    this.#flags.read(found);
    if (login === "none" || (login === "pin" && pin.length === 0)) return "none";
    const isPinSeen = await this.#logIn(found, session, login === "pin" ? pin : null);
    if (login === "pin" && isPinSeen) this.#accepted(found, pin);
    return "new";
  }

  /**
   * Logs in a new session, where that goes without asking for a PIN. Logins are made one after
   * another: a cached PIN that is wrong is found out by the first of them, and those who would have
   * tried it too must see that it is gone.
   * @param found the token as it is now
   * @param relogin whether to log in also when the library says that this was done
   * @param given the PIN, or empty
   * @throws {Failure} pin-required (with `relogin` only), and as `#logIn`
   */
  logInAgain(
    found: SlotToken,
    session: Handle,
    relogin: boolean,
    given: Buffer,
  ): Promise<LoginResult> {
    return this.#inTurn(async () => {
      const { login, description } = this.#token;
      if (login === "none") return "none";
      if (!relogin && isLoggedIn(this.#module, session)) return "kept";
      if (login === "protected-path") {
        if (relogin) this.#logOut(session);
        await this.#logIn(found, session, null);
        return "new";
      }
      const usable = given.length > 0 ? given : this.cachedPinFor(found);
      if (usable === undefined) {
        if (relogin) throw pinRequired(description, found);
        return "none";
      }
      // The bytes that the library gets are its own: what is cached may be overwritten at any time.
      const pin = Buffer.from(usable);
      try {
        if (relogin) this.#logOut(session);
        await this.#logInWithPin(found, session, pin, given);
      } finally {
        pin.fill(0);
      }
      return "new";
    });
  }

  /** @param given the same PIN, or empty for a cached one */
  async #logInWithPin(
    found: SlotToken,
    session: Handle,
    pin: Buffer,
    given: Buffer,
  ): Promise<void> {
    const mayCache = this.#cache.beforeLogin();
    try {
      if (await this.#logIn(found, session, pin)) this.#accepted(found, mayCache() ? given : noPin);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      // A card that was removed has refused nothing.
      if (error.code !== "token-removed") this.#cache.forget();
      // The user has not just typed a wrong one, and what disturbed the login may be over.
      if (given.length === 0 && (pinRefusals.has(error.code) || error.code === "module-crashed")) {
        throw pinRequired(found.description, readToken(this.#module.cryptoki, found.slot));
      }
      throw error;
    }
  }

  /**
   * C_SignInit and the login for that one operation, which a key with CKA_ALWAYS_AUTHENTICATE wants
   * (CKU_CONTEXT_SPECIFIC).
   * @param given the PIN, or empty
   * @param place where the token is
   * @throws {Failure} pin-required, pin-incorrect, pin-last-try, pin-locked, what `loginFailure` makes
   * @throws errors of the library as they are, `PinMayBeSpent` for a device error
   */
  logInForOne(session: Handle, init: () => void, given: Buffer, place: Place): Promise<void> {
    return this.#inTurn(async () => {
      const pin = this.#contextPin(given, place);
      try {
        init();
        await this.#logInForOne(session, pin, given, place);
      } finally {
        pin?.fill(0);
      }
    });
  }

  async #logInForOne(
    session: Handle,
    pin: Buffer | null,
    given: Buffer,
    place: Place,
  ): Promise<void> {
    const { description } = this.#token;
    const mayCache = this.#cache.beforeLogin();
    try {
      await this.#module.login(session, pkcs11js.CKU_CONTEXT_SPECIFIC, pin);
    } catch (error) {
      if (lacksLogin.has(returnValue(error))) throw userNotLoggedIn(); // the PIN was not looked at
      const now = place.tryLook();
      if (isDeviceError(error) && (now === undefined || !hasSeenWrongPin(now))) {
        throw new PinMayBeSpent(error);
      }
      this.#cache.forget();
      const failure = loginFailure(description, now, error);
      // The user has not just typed a wrong one.
      const isCached = pin !== null && given.length === 0;
      throw isCached && pinRefusals.has(failure.code)
        ? pinRequiredEachTime(description, now)
        : failure;
    }
    if (mayCache()) this.#cache.keep(given);
    if (pin !== null) this.#flags.noteAccepted(place.slot);
  }

  /** The PIN for one signature, in bytes of its own, or null when the token asks for it itself. */
  #contextPin(given: Buffer, place: Place): Buffer | null {
    const { description, login } = this.#token;
    if (login === "protected-path") return null;
    if (given.length > 0) return Buffer.from(given);
    const now = place.tryLook();
    if (now === undefined) throw sessionLost(); // it is to be looked for in all ways there are
    const cached = this.cachedPinFor(now);
    if (cached === undefined) throw pinRequiredEachTime(description, now);
    return Buffer.from(cached);
  }

  /**
   * C_Login. A PIN is tried once; a token that has its own PIN pad asks there.
   * @param pin UTF-8, or null for the token's own PIN pad
   * @returns whether it was looked at: a token whose user is logged in already does not
   * @throws {Failure} pin-locked, pin-incorrect, pin-last-try, pin-required, user-refused,
   *   token-removed, module-crashed
   */
  async #logIn(token: SlotToken, session: Handle, pin: Buffer | null): Promise<boolean> {
    if (hasFlag(token, pkcs11js.CKF_USER_PIN_LOCKED)) throw pinLocked(token.description);
    try {
      await this.#module.login(session, pkcs11js.CKU_USER, pin);
      return true;
    } catch (error) {
      if (returnValue(error) === "CKR_USER_ALREADY_LOGGED_IN") return false;
      const now = readToken(this.#module.cryptoki, token.slot);
      throw loginFailure(token.description, now, error);
    }
  }

  #logOut(session: Handle): void {
    try {
      this.#module.cryptoki.C_Logout(session);
    } catch {
      // it was not logged in, then
    }
  }

  /** @param pin to cache, or empty */
  #accepted({ slot }: SlotToken, pin: Buffer): void {
    this.#cache.keep(pin);
    this.#flags.noteAccepted(slot);
  }

  #inTurn<Result>(login: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(login);
    this.#last = result.catch(() => {});
    return result;
  }
}

/**
 * What a token tells of wrong PINs, and how long it is news. Some libraries go on to tell of wrong
 * PINs after the right one was accepted: OpenSC's asks the card only when it is started. What a token
 * still says just after a login is of the past.
 */
class WrongPinFlags {
  readonly #module: Module;
  /** It told of wrong PINs when it was last looked at. */
  #isWarning = false;
  /** The flags that are of the past, and the generation of the library that shows them. */
  #past: { readonly flags: number; readonly generation: number } | undefined;

  constructor(module: Module) {
    this.#module = module;
  }

  /** The token without what is of the past. @param token as its library shows it now */
  read(token: SlotToken): SlotToken {
    this.#isWarning = hasSeenWrongPin(token);
    if (this.#past === undefined) return token;
    const isPast =
      this.#past.generation === this.#module.generation &&
      this.#past.flags === (token.flags & wrongPinFlags);
    if (isPast) return { ...token, flags: token.flags & ~wrongPinFlags };
    this.#past = undefined;
    return token;
  }

  /** Notes that the token has accepted a PIN. @param slot where it was before */
  noteAccepted(slot: Handle): void {
    if (!this.#isWarning) return;
    const now = readToken(this.#module.cryptoki, slot);
    if (now === undefined) return;
    this.#past = { flags: now.flags & wrongPinFlags, generation: this.#module.generation };
  }
}

const noPin = Buffer.alloc(0);

/** Timers stand still while a machine sleeps, so that none is set for longer than this. */
const maxWait = 60_000;

/** Caches one PIN for a time, if the agent was started to do so, and overwrites it afterwards. */
export class PinCache {
  readonly #clock: Clock;
  readonly #duration: number;
  #pin: Buffer | undefined;
  #end = 0;
  /** Another one since PINs were to be forgotten. */
  #epoch = Symbol();
  #cancelTimer: (() => void) | undefined;

  /** @param seconds how long a PIN is cached since it was last given; 0 caches none */
  constructor(clock: Clock, seconds: number) {
    this.#clock = clock;
    this.#duration = seconds * 1000;
  }

  /** The PIN, or undefined. It is not the caller's to change. */
  get pin(): Buffer | undefined {
    if (this.#pin !== undefined && this.#clock.now() >= this.#end) this.#overwrite();
    return this.#pin;
  }

  /** Caches a copy of a PIN that was given and that its token has accepted; not of an empty one. */
  keep(pin: Buffer): void {
    if (this.#duration === 0 || pin.length === 0) return;
    this.#overwrite();
    this.#pin = Buffer.allocUnsafeSlow(pin.length);
    this.#pin.set(pin);
    this.#end = this.#clock.now() + this.#duration;
    this.#schedule();
  }

  /**
   * Notes that a PIN is about to be tried.
   * @returns tells whether it may be cached: not when PINs were to be forgotten meanwhile
   */
  beforeLogin(): () => boolean {
    const epoch = this.#epoch;
    return () => epoch === this.#epoch;
  }

  /** Overwrites the PIN, and lets none be cached that is being tried. */
  forget(): void {
    this.#epoch = Symbol();
    this.#overwrite();
  }

  #overwrite(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
    this.#pin?.fill(0);
    this.#pin = undefined;
  }

  #schedule(): void {
    const left = this.#end - this.#clock.now();
    if (left <= 0) {
      this.#overwrite();
      return;
    }
    this.#cancelTimer = this.#clock.after(Math.min(left, maxWait), () => this.#schedule());
  }
}

/** Whether a session is logged in as the token's user, as far as the library knows. */
export function isLoggedIn({ cryptoki }: Module, session: Handle): boolean {
  try {
    return userStates.has(cryptoki.C_GetSessionInfo(session).state);
  } catch {
    return false;
  }
}

/** CKS_RO_USER_FUNCTIONS and CKS_RW_USER_FUNCTIONS. */
const userStates: ReadonlySet<number> = new Set([1, 3]);
