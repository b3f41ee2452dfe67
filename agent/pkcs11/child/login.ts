/** Logging in to one token: C_Login, one at a time, the cached PIN, and the wrong-PIN flags. */
import { Failure } from "../../../protocol/failure.ts";
import type { Clock } from "../../host/clock.ts";
import type { KnownToken } from "../messages.ts";
import { type Handle, pkcs11js, returnValue, sessionLost, userNotLoggedIn } from "./cryptoki.ts";
import {
  loginFailure,
  pinLocked,
  pinRequired,
  pinRequiredEachTime,
  pinTooLong,
} from "./failures.ts";
import type { Module } from "./module.ts";
import { isDeviceError, PinMayBeSpent } from "./recovery.ts";
import {
  hasFlag,
  hasSeenWrongPin,
  type PinLengths,
  readToken,
  type SlotToken,
  wrongPinFlags,
} from "./slots.ts";

/**
 * Values of C_Login (CKU_CONTEXT_SPECIFIC) of a token that does not check the PIN: some set
 * CKA_ALWAYS_AUTHENTICATE and have no such login.
 */
const noContextLogin: ReadonlySet<string | undefined> = new Set([
  "CKR_USER_TYPE_INVALID",
  "CKR_USER_ALREADY_LOGGED_IN",
  "CKR_USER_ANOTHER_ALREADY_LOGGED_IN",
  "CKR_USER_TOO_MANY_TYPES",
  "CKR_FUNCTION_NOT_SUPPORTED",
]);

const pinRefusals: ReadonlySet<string> = new Set(["pin-incorrect", "pin-last-try"]);

/** A token's current slot. */
interface Place {
  readonly slot: Handle;
  /** The token's current state; undefined if it is absent. */
  tryLook(): SlotToken | undefined;
}

/** The login of a new session: none, one that the library already had, or a new one. */
export type LoginResult = "none" | "kept" | "new";

/** The login of one token's user (CKU_USER). */
export class TokenLogin {
  readonly #module: Module;
  readonly #token: KnownToken;
  readonly #cache: PinCache;
  readonly #flags: WrongPinFlags;
  /** As the token reported them last. */
  #pinLengths: PinLengths | undefined;
  /** Whether the token checked the PIN of the last login (CKU_USER), and accepted it. */
  hasAcceptedPin = false;
  /** The last login begun: each waits for the previous one. */
  #lastLogin: Promise<unknown> = Promise.resolve();

  constructor(module: Module, token: KnownToken, cache: PinCache) {
    this.#module = module;
    this.#token = token;
    this.#cache = cache;
    this.#flags = new WrongPinFlags(module);
  }

  /** Whether a login is possible without asking the user for the PIN. @param pin or empty */
  canLogIn(pin: Buffer): boolean {
    const { login } = this.#token;
    if (login === "protected-path") return true;
    return login === "pin" && (pin.length > 0 || this.#cache.pin !== undefined);
  }

  get hasCachedPin(): boolean {
    return this.#cache.pin !== undefined;
  }

  /** Whether a lost login can only be restored by the user. */
  get needsUser(): boolean {
    return this.#token.login !== "none" && this.#cache.pin === undefined;
  }

  /** The token without stale wrong-PIN flags. @param token its current state */
  withoutPastFlags(token: SlotToken): SlotToken {
    this.#pinLengths = token.pinLengths;
    return this.#flags.read(token);
  }

  /**
   * The cached PIN, read-only. Undefined once the token reports a wrong PIN: some libraries cache a
   * PIN and retry it themselves, so the wrong one may be this one.
   * @param now the token's current state
   */
  cachedPinFor(now: SlotToken): Buffer | undefined {
    return hasSeenWrongPin(now) ? undefined : this.#cache.pin;
  }

  /** Overwrites the cached PIN. */
  forgetPin(): void {
    this.#cache.forget();
  }

  /**
   * Logs in on the first session with a token.
   * @param pin UTF-8, or empty
   * @throws {Failure} as `#logIn`
   */
  async logInFirst(found: SlotToken, session: Handle, pin: Buffer): Promise<LoginResult> {
    const { login } = this.#token;
    this.withoutPastFlags(found);
    if (login === "none" || (login === "pin" && pin.length === 0)) return "none";
    const isPinSeen = await this.#logIn(found, session, login === "pin" ? pin : null);
    if (login === "pin" && isPinSeen) this.#accepted(found, pin);
    return "new";
  }

  /**
   * Logs in on a new session, if that needs no PIN from the user. Logins run one at a time, so that
   * a wrong cached PIN is tried once: the first login removes it before the next one reads it.
   * @param found the token's current state
   * @param relogin log in again even if the library reports a login
   * @param given the PIN, or empty
   * @throws {Failure} pin-required (with `relogin` only), and as `#logIn`
   */
  logInAgain(
    found: SlotToken,
    session: Handle,
    relogin: boolean,
    given: Buffer,
  ): Promise<LoginResult> {
    return this.#serialize(async () => {
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
      // The library gets a copy: the cached PIN may be overwritten at any time.
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
      // A removed card has not refused the PIN.
      if (error.code !== "token-removed") this.#cache.forget();
      // The cached PIN failed: ask the user, since an error of the library may be over by then.
      if (given.length === 0 && (pinRefusals.has(error.code) || error.code === "module-crashed")) {
        throw pinRequired(found.description, readToken(this.#module.cryptoki, found.slot));
      }
      throw error;
    }
  }

  /**
   * C_SignInit, then the login for that operation (CKU_CONTEXT_SPECIFIC), for a key with
   * CKA_ALWAYS_AUTHENTICATE.
   * @param given the PIN, or empty
   * @param place the token's slot
   * @returns false if the token has no such login, and has not checked the PIN
   * @throws {Failure} pin-required, pin-incorrect, pin-last-try, pin-locked, and as `loginFailure`
   * @throws the library's errors; `PinMayBeSpent` for a device error of C_Login
   */
  logInForOne(session: Handle, init: () => void, given: Buffer, place: Place): Promise<boolean> {
    return this.#serialize(async () => {
      const pin = this.#contextPin(given, place);
      try {
        init();
        return await this.#logInForOne(session, pin, given, place);
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
  ): Promise<boolean> {
    const { description } = this.#token;
    const mayCache = this.#cache.beforeLogin();
    try {
      await this.#module.cryptoki.C_Login(session, pkcs11js.CKU_CONTEXT_SPECIFIC, pin);
    } catch (error) {
      if (this.#isNotAsked(session, error)) return false;
      const now = place.tryLook();
      if (isDeviceError(error) && (now === undefined || !hasSeenWrongPin(now))) {
        throw new PinMayBeSpent(error);
      }
      this.#cache.forget();
      const failure = loginFailure(description, now, error);
      const isCached = pin !== null && given.length === 0;
      throw isCached && pinRefusals.has(failure.code)
        ? pinRequiredEachTime(description, now)
        : failure;
    }
    if (mayCache()) this.#cache.keep(given);
    if (pin !== null) this.#flags.noteAccepted(place.slot);
    return true;
  }

  /**
   * Whether the token has no context-specific login, for any key or for this one. It has not checked
   * the PIN. CKR_OPERATION_NOT_INITIALIZED is SoftHSM's value for that; OpenSC's, without CKU_USER.
   * @throws CKR_USER_NOT_LOGGED_IN, if CKU_USER has to log in first
   */
  #isNotAsked(session: Handle, error: unknown): boolean {
    const value = returnValue(error);
    if (noContextLogin.has(value)) return true;
    if (value === "CKR_USER_NOT_LOGGED_IN") throw userNotLoggedIn();
    if (value !== "CKR_OPERATION_NOT_INITIALIZED") return false;
    if (isLoggedIn(this.#module, session) !== false) return true;
    throw userNotLoggedIn();
  }

  /** A copy of the PIN for one signature; null for a token with its own PIN pad. */
  #contextPin(given: Buffer, place: Place): Buffer | null {
    const { description, login } = this.#token;
    if (login === "protected-path") return null;
    if (given.length > 0) {
      this.#checkLength(given);
      return Buffer.from(given);
    }
    const now = place.tryLook();
    if (now === undefined) throw sessionLost(); // lets recovery search for the token
    const cached = this.cachedPinFor(now);
    if (cached === undefined) throw pinRequiredEachTime(description, now);
    return Buffer.from(cached);
  }

  /**
   * C_Login (CKU_USER). A PIN is tried once.
   * @param pin UTF-8, or null for the token's own PIN pad
   * @returns whether the PIN was checked; false for CKR_USER_ALREADY_LOGGED_IN
   * @throws {Failure} pin-locked, pin-incorrect, pin-last-try, pin-required, user-refused,
   *   token-removed, module-crashed
   */
  async #logIn(token: SlotToken, session: Handle, pin: Buffer | null): Promise<boolean> {
    this.hasAcceptedPin = false;
    if (hasFlag(token, pkcs11js.CKF_USER_PIN_LOCKED)) throw pinLocked(token.description);
    if (pin !== null) this.#checkLength(pin);
    try {
      await this.#module.cryptoki.C_Login(session, pkcs11js.CKU_USER, pin);
      this.hasAcceptedPin = true;
      return true;
    } catch (error) {
      if (returnValue(error) === "CKR_USER_ALREADY_LOGGED_IN") return false;
      const now = readToken(this.#module.cryptoki, token.slot);
      throw loginFailure(token.description, now, error);
    }
  }

  /**
   * Refuses a PIN that is too long, and would cost a try. One that is shorter than ulMinPinLen may
   * be older than that rule. Tokens count bytes or characters.
   * @throws {Failure} pin-incorrect
   */
  #checkLength(pin: Buffer): void {
    if (this.#pinLengths === undefined) return;
    const { max } = this.#pinLengths;
    const characters = pin.reduce((sum, byte) => sum + Number((byte & 0xc0) !== 0x80), 0);
    if (characters > max) throw pinTooLong(this.#token.description, max);
  }

  #logOut(session: Handle): void {
    try {
      this.#module.cryptoki.C_Logout(session);
    } catch {
      // was not logged in
    }
  }

  /** @param pin to cache, or empty */
  #accepted({ slot }: SlotToken, pin: Buffer): void {
    this.#cache.keep(pin);
    this.#flags.noteAccepted(slot);
  }

  #serialize<Result>(login: () => Promise<Result>): Promise<Result> {
    const result = this.#lastLogin.then(login);
    this.#lastLogin = result.catch(() => {});
    return result;
  }
}

/**
 * A token's wrong-PIN flags, and which of them are stale. Some libraries still set them after the
 * correct PIN: OpenSC's reads the card's counter only at start. Flags that remain set right after a
 * login are stale until they change or the library restarts.
 */
class WrongPinFlags {
  readonly #module: Module;
  /** Whether the token reported a wrong PIN when it was last read. */
  #reportsWrongPin = false;
  /** The stale flags, and the library's generation that reports them. */
  #stale: { readonly flags: number; readonly generation: number } | undefined;

  constructor(module: Module) {
    this.#module = module;
  }

  /** The token without its stale flags. @param token its current state */
  read(token: SlotToken): SlotToken {
    this.#reportsWrongPin = hasSeenWrongPin(token);
    if (this.#stale === undefined) return token;
    const isStale =
      this.#stale.generation === this.#module.generation &&
      this.#stale.flags === (token.flags & wrongPinFlags);
    if (isStale) return { ...token, flags: token.flags & ~wrongPinFlags };
    this.#stale = undefined;
    return token;
  }

  /** Records that the token accepted a PIN. @param slot the token's slot */
  noteAccepted(slot: Handle): void {
    if (!this.#reportsWrongPin) return;
    const now = readToken(this.#module.cryptoki, slot);
    if (now === undefined) return;
    this.#stale = { flags: now.flags & wrongPinFlags, generation: this.#module.generation };
  }
}

const noPin = Buffer.alloc(0);

/** The longest timer, in milliseconds: timers do not advance during suspend. */
const maxWait = 60_000;

/** Caches one PIN for the time that `-O pin-cache` sets, then overwrites it. */
export class PinCache {
  readonly #clock: Clock;
  readonly #duration: number;
  #pin: Buffer | undefined;
  #expiry = 0;
  /** Replaced by each `forget`. */
  #epoch = Symbol();
  #cancelTimer: (() => void) | undefined;

  /** @param seconds how long a PIN is cached after it was last given; 0 disables the cache */
  constructor(clock: Clock, seconds: number) {
    this.#clock = clock;
    this.#duration = seconds * 1000;
  }

  /** The PIN, read-only; undefined if none is cached. */
  get pin(): Buffer | undefined {
    if (this.#pin !== undefined && this.#clock.now() >= this.#expiry) this.#overwrite();
    return this.#pin;
  }

  /** Caches a copy of a PIN that the token has accepted. An empty PIN changes nothing. */
  keep(pin: Buffer): void {
    if (this.#duration === 0 || pin.length === 0) return;
    this.#overwrite();
    this.#pin = Buffer.allocUnsafeSlow(pin.length);
    this.#pin.set(pin);
    this.#expiry = this.#clock.now() + this.#duration;
    this.#schedule();
  }

  /**
   * Call before a login with a PIN.
   * @returns tells whether the PIN may be cached after it: no, if `forget` was called meanwhile
   */
  beforeLogin(): () => boolean {
    const epoch = this.#epoch;
    return () => epoch === this.#epoch;
  }

  /** Overwrites the PIN, and prevents logins in progress from caching theirs. */
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
    const left = this.#expiry - this.#clock.now();
    if (left <= 0) {
      this.#overwrite();
      return;
    }
    this.#cancelTimer = this.#clock.after(Math.min(left, maxWait), () => this.#schedule());
  }
}

/**
 * Whether C_GetSessionInfo reports that CKU_USER is logged in; undefined if the library does not
 * tell.
 */
export function isLoggedIn({ cryptoki }: Module, session: Handle): boolean | undefined {
  try {
    return userStates.has(cryptoki.C_GetSessionInfo(session).state);
  } catch (error) {
    return isDeviceError(error) ? false : undefined;
  }
}

/** CKS_RO_USER_FUNCTIONS and CKS_RW_USER_FUNCTIONS. */
const userStates: ReadonlySet<number> = new Set([1, 3]);
