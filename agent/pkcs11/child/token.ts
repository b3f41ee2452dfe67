/** The connection to a token: its slot, its sessions and its login, and how they are had again. */
import type {
  ProviderState,
  TokenDescription,
} from "../../../protocol/extensions/list-providers.ts";
import { asFailure, Failure } from "../../../protocol/failure.ts";
import type { KnownToken } from "../messages.ts";
import { type Handle, returnValue } from "./cryptoki.ts";
import { tokenRemoved } from "./failures.ts";
import { isLoggedIn, type LoginResult, type TokenLogin } from "./login.ts";
import type { Module } from "./module.ts";
import type { RecoveryStep } from "./recovery.ts";
import { closeSession, openFirst, openSession, SessionPool } from "./sessions.ts";
import { hasSeenWrongPin, locateToken, type SlotToken } from "./slots.ts";

/**
 * Whether the token's user is logged in: not by anything that was done here; as far as the library
 * knows; or not any more, since the card wanted a login though it had one, whatever the library says.
 */
type LoginState = "none" | "in" | "lost";

/**
 * A token is closed until it is first used, and when its sessions have ended: then it knows what its
 * login was.
 */
type TokenState =
  | { readonly type: "closed"; readonly login: LoginState }
  | { readonly type: "open"; readonly login: LoginState; readonly sessions: SessionPool };

/** How a token's sessions are opened again. */
export interface Reconnect {
  /** The sessions that did not work, if there were any. */
  readonly stale: SessionPool | undefined;
  /**
   * What to do besides opening sessions: log in also when the library says that this was done, since
   * the card may have forgotten it; or start the library again, which may have lost the card.
   */
  readonly step: Exclude<RecoveryStep, "give-up">;
  /** The PIN for a login, or empty. */
  readonly pin: Buffer;
}

/** Why a token could not be connected to. */
interface ReconnectFailure {
  readonly failure: Failure;
  /** Whether the token may have seen the PIN all the same. */
  readonly pinMayBeSpent: boolean;
}

/** A token that was found in its slot, and the first session with it. */
interface Opened {
  readonly found: SlotToken;
  readonly session: Handle;
}

const noPin = Buffer.alloc(0);

/** The connection to one token. */
export class TokenConnection {
  readonly known: KnownToken;
  readonly login: TokenLogin;
  readonly #module: Module;
  /** The connections to the library's other tokens, which a restart would cut off. */
  readonly #all: Set<TokenConnection>;
  readonly #keyCount: number;
  #state: TokenState = { type: "closed", login: "none" };
  #slot: Handle;
  /** CKF_REMOVABLE_DEVICE of the slot. */
  #isCard = false;
  /** The keys that have signed without a login since the sessions were opened. */
  readonly #signedWithoutLogin = new Set<object>();
  /** The login that was made last: another symbol for each. */
  #lastLogin = Symbol();
  #reconnecting: Promise<void> | undefined;
  /** The library saw no token at all, or did not tell, when it was last asked. */
  #isBlind = true;

  /** @param all the connections to the library's tokens, to which this one is added */
  constructor(
    module: Module,
    known: KnownToken,
    login: TokenLogin,
    keyCount: number,
    all: Set<TokenConnection>,
  ) {
    this.#module = module;
    this.known = known;
    this.login = login;
    this.#slot = known.slot;
    this.#keyCount = keyCount;
    this.#all = all;
    all.add(this);
  }

  get description(): TokenDescription {
    return this.known.description;
  }

  /** Where it was last. */
  get slot(): Handle {
    return this.#slot;
  }

  /** The token's sessions, unless they are known to be of no use. */
  get sessions(): SessionPool | undefined {
    const state = this.#state;
    if (state.type === "closed") return undefined;
    if (state.sessions.isOpen) return state.sessions;
    this.#state = { type: "closed", login: state.login };
    return undefined;
  }

  /** Whether the token's user is logged in, or was when it was closed, as far as is known. */
  get isLoggedIn(): boolean {
    return this.#state.login === "in";
  }

  /** Takes over the session in which the token was found. */
  open({ found, session }: Opened, login: LoginResult): void {
    if (this.#state.type === "open") this.#state.sessions.close();
    if (login === "new") this.#lastLogin = Symbol();
    const sessions = new SessionPool(this.#module, found.slot, session, this.#lastLogin);
    this.#slot = found.slot;
    this.#isCard = sessions.isCard;
    this.#state = { type: "open", sessions, login: this.#after(login) };
  }

  /** A library that claims a login which the card has refused is believed only after another one. */
  #after(login: LoginResult): LoginState {
    if (login === "new") return "in";
    if (this.#state.login === "lost") return "lost";
    return login === "kept" ? "in" : "none";
  }

  /** Notes that a key has signed. */
  noteSigned(key: object): void {
    if (!this.isLoggedIn) this.#signedWithoutLogin.add(key);
  }

  /**
   * Notes that the card wants a login. When it had one, wrong PINs may have ended that, of which some
   * libraries know only once they are started again, and whoever is asked for the PIN should.
   */
  async loginLost(hadOne: boolean): Promise<void> {
    this.#state = { ...this.#state, login: "lost" };
    if (hadOne && this.#isCard && this.#mayRestart()) await this.#tryRestart();
  }

  /** What the token can do now. It asks the library unless that is busy with the token. */
  async state(): Promise<ProviderState> {
    if (this.#reconnecting !== undefined || this.sessions?.busy) return "ready";
    let now = await this.#find();
    if (now !== undefined && this.#isLoginGone()) {
      await this.loginLost(true);
      now = await this.#find();
    }
    if (now === undefined) return "card-absent";
    return this.#isReady(now) ? "ready" : "pin-needed";
  }

  #isReady(now: SlotToken): boolean {
    if (this.known.login !== "pin" || this.#signedWithoutLogin.size >= this.#keyCount) return true;
    if (this.login.cachedPinFor(now) !== undefined) return true;
    return this.#state.login !== "lost" && this.#hasLogin();
  }

  /** Whether the library says that the token's user is logged in. */
  #hasLogin(): boolean {
    const idle = this.sessions?.idle;
    return idle !== undefined && isLoggedIn(this.#module, idle);
  }

  /**
   * Whether the login is gone, so that a restart shows whether the card is, too: OpenSC's library may
   * go on to show a card that was exchanged.
   */
  #isLoginGone(): boolean {
    if (!this.#isCard || this.sessions?.idle === undefined || !this.isLoggedIn) return false;
    return this.#module.isQuiet && this.#mayRestart() && !this.#hasLogin();
  }

  /**
   * Opens the token's sessions again, wherever the token is now, and logs in where that goes without
   * asking for a PIN. Those who ask for it at the same time get the same new sessions, unless they
   * want more done than was.
   * @throws {Failure} token-removed, pin-required (with "login" only), what a login throws
   */
  async reconnect(wanted: Reconnect): Promise<void> {
    while (this.#reconnecting !== undefined) await this.#reconnecting.catch(() => {});
    if (this.#isDone(wanted)) return;
    this.#reconnecting = this.#reconnect(wanted).finally(() => {
      this.#reconnecting = undefined;
    });
    await this.#reconnecting;
  }

  /** Whether somebody else has done since then what is wanted. */
  #isDone({ stale, step }: Reconnect): boolean {
    const { sessions } = this;
    if (sessions === undefined || sessions === stale) return false;
    switch (step) {
      case "reopen":
        return true;
      case "login":
        return stale !== undefined && stale.login !== sessions.login;
      case "restart":
        return stale !== undefined && !stale.isCurrent;
    }
  }

  async #reconnect({ step, pin }: Reconnect): Promise<void> {
    const reopen = (given: Buffer) => this.#module.use(() => this.#reopen(step === "login", given));
    const isWanted = step === "restart" || this.#isInPlaceOfOther();
    const isRestarted = isWanted && this.#mayRestart();
    if (isRestarted) await this.#module.restart();
    let failed = await reopen(pin);
    if (failed !== undefined && !isRestarted && this.#isRestartWanted(failed, pin)) {
      // The token may really be absent; then a failed restart adds nothing.
      await this.#tryRestart();
      if (!this.#module.isDown) failed = await reopen(this.#pinAfter(failed, pin));
    }
    if (failed !== undefined) throw failed.failure;
  }

  /**
   * Finds the token, opens its first session and logs in.
   * @returns why it could not be connected to, if so
   * @throws {Failure} what a login throws
   */
  async #reopen(relogin: boolean, pin: Buffer): Promise<ReconnectFailure | undefined> {
    const opened = this.#openFirst();
    if (opened instanceof Failure) return { failure: opened, pinMayBeSpent: false };
    const { found, session } = opened;
    this.#signedWithoutLogin.clear();
    try {
      this.open(opened, await this.login.logInAgain(found, session, relogin, pin));
      return undefined;
    } catch (error) {
      closeSession(this.#module.cryptoki, session);
      if (this.isLoggedIn) this.#state = { ...this.#state, login: "none" };
      // OpenSC's library may not notice that a card was removed and inserted again, or exchanged.
      if (error instanceof Failure && error.code === "token-removed") {
        return { failure: error, pinMayBeSpent: true };
      }
      throw error;
    }
  }

  /** The PIN for one more try: not if the card may have refused it just before. */
  #pinAfter({ pinMayBeSpent }: ReconnectFailure, pin: Buffer): Buffer {
    if (!pinMayBeSpent) return pin;
    const now = this.tryLook();
    return now !== undefined && hasSeenWrongPin(now) ? noPin : pin;
  }

  #openFirst(): Opened | Failure {
    try {
      const found = this.look();
      if (found === undefined) return tokenRemoved(this.description);
      return { found, session: this.#openOrExchange(found) };
    } catch (error) {
      return asFailure(error);
    }
  }

  /** On CKR_SESSION_COUNT, closes the stale sessions first. */
  #openOrExchange(found: SlotToken): Handle {
    try {
      return openSession(this.#module.cryptoki, found.slot);
    } catch (error) {
      if (returnValue(error) === "CKR_SESSION_COUNT") this.sessions?.close();
      return openFirst(this.#module, found);
    }
  }

  /**
   * The token where it is now. A library that does not see it may have to be started again, but
   * nobody is to be kept from signing by somebody who looks.
   */
  async #find(): Promise<SlotToken | undefined> {
    const look = () => this.#module.use(() => this.look());
    const seen = await look().catch(asFailure);
    if (seen !== undefined && !(seen instanceof Failure)) return seen;
    if (this.#module.isQuiet && this.#isRestartWorth()) {
      await this.#tryRestart();
      if (!this.#module.isDown) return look();
    }
    if (seen instanceof Failure) throw seen;
    return undefined;
  }

  /** The token where it is now. @throws {Failure} when the library does not list its slots */
  look(): SlotToken | undefined {
    this.#isBlind = true;
    if (this.#module.isDown) return undefined;
    const located = locateToken(this.#module, this.description, this.#slot);
    if (located.isReplaced) this.login.forgetPin();
    this.#isBlind = located.isBlind;
    return located.token && this.login.withoutPastFlags(located.token);
  }

  /** As `look`; undefined also when the library does not list its slots. */
  tryLook(): SlotToken | undefined {
    try {
      return this.look();
    } catch {
      return undefined;
    }
  }

  /** Some libraries go on seeing the keys of the token that was in a slot before. */
  #isInPlaceOfOther(): boolean {
    if (this.#all.size < 2) return false;
    const slot = this.tryLook()?.slot;
    if (slot === undefined || this.#slot.equals(slot)) return false;
    return [...this.#all].some((other) => other.#slot.equals(slot));
  }

  /** A library that does not start again knows of no token: it is down. */
  async #tryRestart(): Promise<void> {
    await this.#module.restart().catch(() => {});
  }

  /**
   * The user has just typed a PIN for a token that the library lists but cannot reach: restart, even
   * though other tokens lose their login.
   */
  #isRestartWanted({ pinMayBeSpent }: ReconnectFailure, pin: Buffer): boolean {
    if (this.#isRestartWorth()) return true;
    return pinMayBeSpent && pin.length > 0 && ![...this.#all].some((other) => other.#isBusyCard);
  }

  /** A library that sees other tokens has the way to them: they are not to be disturbed for this. */
  #isRestartWorth(): boolean {
    return this.#mayRestart() && (this.#isBlind || this.#module.isQuiet);
  }

  /** A restart ends the logins of all tokens, and nobody likes to type a PIN for another card. */
  #mayRestart(): boolean {
    return [...this.#all].every((other) => other === this || !other.#wouldLose());
  }

  #wouldLose(): boolean {
    if (this.#isBusyCard) return true;
    const { sessions } = this;
    if (sessions === undefined || !this.login.needsUser) return false;
    return sessions.busy || this.#hasLogin();
  }

  /** It may be waiting for a touch, and everybody else would then have to wait for that. */
  get #isBusyCard(): boolean {
    return this.#isCard && this.sessions?.busy === true;
  }
}
