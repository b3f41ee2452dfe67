/** The connection to a token: its slot, sessions and login, and how it reconnects. */
import type {
  ProviderState,
  TokenDescription,
} from "../../../protocol/extensions/list-providers.ts";
import { asFailure, Failure } from "../../../protocol/failure.ts";
import type { KnownToken, LeftOut } from "../messages.ts";
import { type Handle, returnValue } from "./cryptoki.ts";
import { tokenRemoved } from "./failures.ts";
import { isLoggedIn, type LoginResult, type TokenLogin } from "./login.ts";
import type { Module } from "./module.ts";
import type { TokenKey } from "./private-keys.ts";
import type { RecoveryStep } from "./recovery.ts";
import { closeSession, openFirst, openSession, SessionPool } from "./sessions.ts";
import { hasSeenWrongPin, locateToken, type SlotToken } from "./slots.ts";

/**
 * The login of CKU_USER: none known; one that the library reports; or one that the card has lost,
 * since it requires a login again, even if the library still reports one.
 */
type LoginState = "none" | "in" | "lost";

/**
 * A token is closed before its first use and after its sessions have ended; it then keeps the state
 * of its last login.
 */
type TokenState =
  | { readonly type: "closed"; readonly login: LoginState }
  | { readonly type: "open"; readonly login: LoginState; readonly sessions: SessionPool };

/** The recovery steps that open new sessions. */
export type ReconnectStep = Exclude<RecoveryStep, "log-in-for-one" | "give-up">;

/** A request to open a token's sessions again. */
export interface Reconnect {
  /** The sessions that failed, if there were any. */
  readonly stale: SessionPool | undefined;
  /**
   * What to do besides opening sessions: "login" logs in even if the library reports a login, since
   * the card may have lost it; "restart" restarts the library, which may have lost the card.
   */
  readonly step: ReconnectStep;
  /** The PIN for a login, or empty. */
  readonly pin: Buffer;
}

/** A failed attempt to connect to a token. */
interface ReconnectFailure {
  readonly failure: Failure;
  /** Whether the token may have checked the PIN nevertheless. */
  readonly pinMayBeSpent: boolean;
}

/** A token in its slot, and the first session with it. */
interface Opened {
  readonly found: SlotToken;
  readonly session: Handle;
}

const noPin = Buffer.alloc(0);

export class TokenConnection {
  readonly known: KnownToken;
  readonly login: TokenLogin;
  readonly #module: Module;
  /** The connections to all of the library's tokens, which a restart would end. */
  readonly #all: Set<TokenConnection>;
  readonly #keyCount: number;
  #state: TokenState = { type: "closed", login: "none" };
  #slot: Handle;
  /** CKF_REMOVABLE_DEVICE of the slot. */
  #isCard = false;
  /** The keys that have signed without a login on the current sessions. */
  readonly #signedWithoutLogin = new Set<object>();
  /** Identifies the last C_Login. */
  #lastLogin = Symbol();
  #reconnecting: Promise<void> | undefined;
  /** The last listing of slots showed no token at all, or failed. */
  #seesNoToken = true;

  /** @param all the connections to the library's tokens; this one is added */
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

  /** The token's last known slot. */
  get slot(): Handle {
    return this.#slot;
  }

  /** The token's sessions; undefined once they are closed or a restart has ended them. */
  get sessions(): SessionPool | undefined {
    const state = this.#state;
    if (state.type === "closed") return undefined;
    if (state.sessions.isOpen) return state.sessions;
    this.#state = { type: "closed", login: state.login };
    return undefined;
  }

  /** Whether CKU_USER is logged in, or was when the sessions ended. */
  get isLoggedIn(): boolean {
    return this.#state.login === "in";
  }

  /** Replaces the sessions with a new pool around this first session. */
  open({ found, session }: Opened, login: LoginResult): void {
    if (this.#state.type === "open") this.#state.sessions.close();
    if (login === "new") this.#lastLogin = Symbol();
    const sessions = new SessionPool(this.#module, found.slot, session, this.#lastLogin);
    this.#slot = found.slot;
    this.#isCard = sessions.isCard;
    this.#state = { type: "open", sessions, login: this.#loginStateAfter(login) };
  }

  /** Once the card has lost its login, only a new login counts, even if the library reports one. */
  #loginStateAfter(login: LoginResult): LoginState {
    if (login === "new") return "in";
    if (this.#state.login === "lost") return "lost";
    return login === "kept" ? "in" : "none";
  }

  /** Records that a key has signed. */
  noteSigned(key: object): void {
    if (!this.isLoggedIn) this.#signedWithoutLogin.add(key);
  }

  /**
   * Records that the card requires a login. If it had one, wrong PINs may have ended it. Some
   * libraries report those only after a restart; the user should see them before typing the PIN.
   */
  async loginLost(hadOne: boolean): Promise<void> {
    this.#state = { ...this.#state, login: "lost" };
    if (hadOne && this.#isCard && this.#mayRestart()) await this.#tryRestart();
  }

  /** Closes the sessions of a token that is of no use. */
  abandon(): void {
    this.sessions?.close();
    this.#all.delete(this);
  }

  /** Records that the library was finalized, which ended sessions and login on purpose. */
  noteReleased(): void {
    this.#state = { type: "closed", login: "none" };
  }

  /**
   * The token's current state. Calls the library, unless the token is busy; once the tokens are given
   * back, it is what the next signature needs.
   */
  async state(): Promise<ProviderState> {
    if (this.#reconnecting !== undefined || this.sessions?.busy) return "ready";
    let now = this.#module.isReleased ? undefined : await this.#find();
    if (now !== undefined && this.#isLoginGone()) {
      await this.loginLost(true);
      now = await this.#find();
    }
    if (this.#module.isReleased) {
      return this.known.login === "pin" && !this.login.hasCachedPin ? "pin-needed" : "ready";
    }
    if (now === undefined) return "card-absent";
    return this.#isReady(now) ? "ready" : "pin-needed";
  }

  #isReady(now: SlotToken): boolean {
    if (this.known.login !== "pin" || this.#signedWithoutLogin.size >= this.#keyCount) return true;
    if (this.login.cachedPinFor(now) !== undefined) return true;
    return this.#state.login !== "lost" && this.#hasLogin();
  }

  /** Whether the library reports a login, or does not tell after one. */
  #hasLogin(): boolean {
    const idle = this.sessions?.idle;
    return idle !== undefined && (isLoggedIn(this.#module, idle) ?? this.isLoggedIn);
  }

  /**
   * Whether the login is gone. A restart then shows whether the card is gone, too: OpenSC's library
   * may still list a card that was exchanged.
   */
  #isLoginGone(): boolean {
    if (!this.#isCard || this.sessions?.idle === undefined || !this.isLoggedIn) return false;
    return this.#module.isQuiet && this.#mayRestart() && !this.#hasLogin();
  }

  /**
   * Finds the token, in any slot, opens its sessions again, and logs in if that needs no PIN from
   * the user. Concurrent calls share the new sessions, unless they ask for another step.
   * @throws {Failure} token-removed, pin-required (with "login" only), and as a login
   */
  async reconnect(wanted: Reconnect): Promise<void> {
    while (this.#reconnecting !== undefined) await this.#reconnecting.catch(() => {});
    if (this.#isDone(wanted)) return;
    this.#reconnecting = this.#reconnect(wanted).finally(() => {
      this.#reconnecting = undefined;
    });
    await this.#reconnecting;
  }

  /** Whether a concurrent call has already done this step. */
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
    const isWanted = step === "restart" || this.#isInOthersSlot();
    const isRestarted = isWanted && this.#mayRestart();
    if (isRestarted) await this.#module.restart();
    let failed = await reopen(pin);
    if (failed !== undefined && !isRestarted && this.#isRestartWanted(failed, pin)) {
      // The token may really be absent; then a failed restart adds nothing.
      await this.#tryRestart();
      if (!this.#module.isDown) failed = await reopen(this.#pinForRetry(failed, pin));
    }
    if (failed !== undefined) throw failed.failure;
  }

  /**
   * Finds the token, opens its first session and logs in.
   * @returns undefined on success
   * @throws {Failure} as a login, except token-removed
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
      // OpenSC's library may not notice that a card was reinserted or exchanged.
      if (error instanceof Failure && error.code === "token-removed") {
        return { failure: error, pinMayBeSpent: true };
      }
      throw error;
    }
  }

  /** The PIN for a retry; empty if the card may just have refused it. */
  #pinForRetry({ pinMayBeSpent }: ReconnectFailure, pin: Buffer): Buffer {
    if (!pinMayBeSpent) return pin;
    const now = this.tryLook();
    return now !== undefined && hasSeenWrongPin(now) ? noPin : pin;
  }

  #openFirst(): Opened | Failure {
    try {
      const found = this.look();
      if (found === undefined) return tokenRemoved(this.description);
      return { found, session: this.#openSession(found) };
    } catch (error) {
      return asFailure(error);
    }
  }

  /** On CKR_SESSION_COUNT, closes the stale sessions first. */
  #openSession(found: SlotToken): Handle {
    try {
      return openSession(this.#module, found.slot);
    } catch (error) {
      if (returnValue(error) === "CKR_SESSION_COUNT") this.sessions?.close();
      return openFirst(this.#module, found);
    }
  }

  /**
   * Finds the token. If the library does not list it, a restart may help, but only while the
   * library is idle: a status query must not delay signatures.
   */
  async #find(): Promise<SlotToken | undefined> {
    const look = () => this.#module.use(() => this.look());
    const seen = await look().catch(asFailure);
    if (seen !== undefined && !(seen instanceof Failure)) return seen;
    if (!this.#module.isReleased && this.#module.isQuiet && this.#isRestartUseful()) {
      await this.#tryRestart();
      if (!this.#module.isDown) return look();
    }
    if (seen instanceof Failure) throw seen;
    return undefined;
  }

  /** Finds the token, in any slot. @throws {Failure} if C_GetSlotList fails */
  look(): SlotToken | undefined {
    this.#seesNoToken = true;
    if (this.#module.isDown) return undefined;
    const located = locateToken(this.#module, this.known, this.#slot);
    if (located.isReplaced) this.login.forgetPin();
    this.#seesNoToken = located.seesNoToken;
    return located.token && this.login.withoutPastFlags(located.token);
  }

  /** As `look`, but undefined if C_GetSlotList fails. */
  tryLook(): SlotToken | undefined {
    try {
      return this.look();
    } catch {
      return undefined;
    }
  }

  /** Whether it is in another token's old slot: some libraries still show that token's keys. */
  #isInOthersSlot(): boolean {
    if (this.#all.size < 2) return false;
    const slot = this.tryLook()?.slot;
    if (slot === undefined || this.#slot.equals(slot)) return false;
    return [...this.#all].some((other) => other.#slot.equals(slot));
  }

  /** Restarts the library; a failure sets `Module.isDown`. */
  async #tryRestart(): Promise<void> {
    await this.#module.restart().catch(() => {});
  }

  /**
   * The user has just typed a PIN for a token that the library lists but cannot reach: restart,
   * even though other tokens lose their login.
   */
  #isRestartWanted({ pinMayBeSpent }: ReconnectFailure, pin: Buffer): boolean {
    if (this.#isRestartUseful()) return true;
    return pinMayBeSpent && pin.length > 0 && ![...this.#all].some((other) => other.#isBusyCard);
  }

  /** A library that lists other tokens still reaches them: restart it only while it is idle. */
  #isRestartUseful(): boolean {
    return this.#mayRestart() && (this.#seesNoToken || this.#module.isQuiet);
  }

  /** Whether no other token would lose a login that only its user can restore. */
  #mayRestart(): boolean {
    return [...this.#all].every((other) => other === this || !other.#wouldLoseLogin());
  }

  #wouldLoseLogin(): boolean {
    if (this.#isBusyCard) return true;
    const { sessions } = this;
    if (sessions === undefined || !this.login.needsUser) return false;
    return sessions.busy || this.#hasLogin();
  }

  /** A busy card may be waiting for a touch, and a restart would wait for that. */
  get #isBusyCard(): boolean {
    return this.#isCard && this.sessions?.busy === true;
  }
}

/** A token, and its selected keys. */
export interface OpenToken {
  readonly connection: TokenConnection;
  /** Their handles are of the connection's sessions. */
  readonly keys: readonly TokenKey[];
  /** What the token has besides. */
  readonly leftOut: readonly LeftOut[];
}

/** The tokens that were opened, and what else the library shows. */
export interface OpenTokens {
  readonly tokens: readonly OpenToken[];
  readonly leftOut: readonly LeftOut[];
}
