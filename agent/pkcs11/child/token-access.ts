/** The way to a token: where it is, its sessions, and how they are had again. */
import type {
  ProviderState,
  TokenDescription,
} from "../../../protocol/extensions/list-providers.ts";
import { asFailure, Failure } from "../../../protocol/failure.ts";
import type { KnownToken, LoginKind } from "../inventory.ts";
import { type Handle, returnValue } from "./cryptoki.ts";
import type { KeptPin } from "./kept-pin.ts";
import type { Module } from "./module.ts";
import { isTokenRemoved, tokenRemoved } from "./refusals.ts";
import { closeSession, openFirst, openSession, SessionPool } from "./session-pool.ts";
import { hasSeenWrongPin, type SlotToken } from "./slot-token.ts";
import type { Missed, Opened, Renewal } from "./token-renewal.ts";
import { TokenUser } from "./token-user.ts";
import { isLoggedIn, locateToken } from "./tokens.ts";

const noPin = Buffer.alloc(0);

/** The way to one token. */
export class TokenAccess implements KnownToken {
  readonly description: TokenDescription;
  readonly login: LoginKind;
  readonly user: TokenUser;
  readonly #module: Module;
  /** The ways to the library's other tokens, which a restart would cut off. */
  readonly #all: Set<TokenAccess>;
  #slot: Handle;
  #pool: SessionPool | undefined;
  #renewing: Promise<void> | undefined;
  /** How often a login was made again: now, and when each pool was had. */
  #logins = 0;
  readonly #loginsAt = new WeakMap<SessionPool, number>();
  /** The library saw no token at all, or did not tell, when it was last asked. */
  #isBlind = true;

  constructor(module: Module, token: KnownToken, kept: KeptPin, all: Set<TokenAccess>) {
    this.#module = module;
    this.description = token.description;
    this.login = token.login;
    // A message's bytes are not for keeps.
    this.#slot = Buffer.from(token.slot);
    this.user = new TokenUser(module, token, kept);
    this.#all = all;
    all.add(this);
  }

  /**
   * Takes over the session in which the token was found.
   * @param hasLoggedIn whether a login was made in it
   * @param pin that it accepted, or empty
   */
  begin(opened: Opened, hasLoggedIn: boolean, pin: Buffer): void {
    this.#takeOver(opened);
    this.user.noteFirstLogin(opened.found, hasLoggedIn, pin);
  }

  /** Where it was last. */
  get slot(): Handle {
    return this.#slot;
  }

  /** The token's sessions, unless they are known to be of no use. */
  get pool(): SessionPool | undefined {
    return this.#pool?.isOpen ? this.#pool : undefined;
  }

  /**
   * Notes that the card wants a login. When it had one, wrong PINs may have ended that, of which some
   * libraries know only once they are started again, and whoever is asked for the PIN should.
   */
  async noteLoginLost(hadOne: boolean): Promise<void> {
    this.user.noteLoginLost();
    if (hadOne && this.#pool?.isCard && this.#mayRestart()) {
      await this.#module.restart().catch(() => {});
    }
  }

  /** What the token can do now. It asks the library unless that is busy with the token. */
  async state(): Promise<ProviderState> {
    if (this.#renewing !== undefined || this.pool?.busy) return "ready";
    let now = await this.#find();
    if (now !== undefined && this.#hasLostLogin()) {
      await this.noteLoginLost(true);
      now = await this.#find();
    }
    if (now === undefined) return "card-absent";
    return this.user.isReady(now, this.pool?.idle) ? "ready" : "pin-needed";
  }

  /**
   * Whether the login is gone, so that a restart shows whether the card is, too: OpenSC's library may
   * go on to show a card that was exchanged.
   */
  #hasLostLogin(): boolean {
    const { pool } = this;
    if (!pool?.isCard || pool.idle === undefined || !this.user.isLoggedIn) return false;
    if (!this.#module.isQuiet || !this.#mayRestart()) return false;
    return !isLoggedIn(this.#module, pool.idle);
  }

  /**
   * Opens the token's sessions again, wherever the token is now, and logs in where that goes without
   * asking for a PIN. Those who ask for it at the same time get the same new sessions, unless they
   * want more done than was.
   * @throws {Failure} token-removed, pin-required (with "login" only), what `logIn` throws
   */
  async renew(renewal: Renewal): Promise<void> {
    while (this.#renewing !== undefined) await this.#renewing.catch(() => {});
    if (this.#isDone(renewal)) return;
    this.#renewing = this.#renew(renewal).finally(() => {
      this.#renewing = undefined;
    });
    await this.#renewing;
  }

  /** Whether somebody else has done since then what a renewal is to do. */
  #isDone({ failed, also }: Renewal): boolean {
    const { pool } = this;
    if (pool === undefined || pool === failed) return false;
    switch (also) {
      case "nothing":
        return true;
      case "login":
        return failed !== undefined && this.#logins > (this.#loginsAt.get(failed) ?? this.#logins);
      case "restart":
        return failed !== undefined && !failed.isCurrent;
    }
  }

  async #renew(renewal: Renewal): Promise<void> {
    const reopen = (pin: Buffer) => this.#module.use(() => this.#reopen(renewal.also, pin));
    const isWanted = renewal.also === "restart" || this.#isInPlaceOfOther();
    const isRestarted = isWanted && this.#mayRestart();
    if (isRestarted) await this.#module.restart();
    let missed = await reopen(renewal.pin);
    if (missed !== undefined && !isRestarted && this.#isRestartWanted(missed, renewal.pin)) {
      // It saw no token, which may be the truth: then a library that does not start again is no news.
      await this.#module.restart().catch(() => {});
      if (!this.#module.isDown) missed = await reopen(this.#pinAfter(missed, renewal.pin));
    }
    if (missed !== undefined) throw missed.failure;
  }

  /**
   * Finds the token, opens its first session and logs in.
   * @returns why the token was not to be had, if so
   * @throws {Failure} what a login throws
   */
  async #reopen(also: Renewal["also"], pin: Buffer): Promise<Missed | undefined> {
    const opened = this.#openFirst();
    if (opened instanceof Failure) return { failure: opened, isPinInDoubt: false };
    const { found, session } = opened;
    try {
      if (await this.user.logInAgain(found, session, also === "login", pin)) this.#logins++;
    } catch (error) {
      closeSession(this.#module.cryptoki, session);
      // OpenSC's library may not notice that a card was pulled out and put back, or exchanged.
      if (isTokenRemoved(error)) return { failure: error, isPinInDoubt: true };
      throw error;
    }
    this.#pool?.close();
    this.#takeOver(opened);
    return undefined;
  }

  /** The PIN for one more try: not if the card may have refused it just before. */
  #pinAfter({ isPinInDoubt }: Missed, pin: Buffer): Buffer {
    if (!isPinInDoubt) return pin;
    const now = this.tryLook();
    return now !== undefined && hasSeenWrongPin(now) ? noPin : pin;
  }

  #takeOver({ found, session }: Opened): void {
    this.#slot = found.slot;
    this.#pool = new SessionPool(this.#module, found.slot, session);
    this.#loginsAt.set(this.#pool, this.#logins);
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

  /** Opens a session. A token that has no more of them gets back those that are to be given up. */
  #openOrExchange(found: SlotToken): Handle {
    try {
      return openSession(this.#module.cryptoki, found.slot);
    } catch (error) {
      if (returnValue(error) === "CKR_SESSION_COUNT") this.#pool?.close();
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
      await this.#module.restart().catch(() => {});
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
    if (located.isReplaced) this.user.forget();
    this.#isBlind = located.isBlind;
    return located.token && this.user.pinFlags.read(located.token);
  }

  /** Some libraries go on seeing the keys of the token that was in a slot before. */
  #isInPlaceOfOther(): boolean {
    if (this.#all.size < 2) return false;
    const slot = this.tryLook()?.slot;
    if (slot === undefined || this.#slot.equals(slot)) return false;
    return [...this.#all].some((other) => other.#slot.equals(slot));
  }

  /** As `look`; undefined also when the library does not list its slots. */
  tryLook(): SlotToken | undefined {
    try {
      return this.look();
    } catch {
      return undefined;
    }
  }

  /** Whoever types a PIN for a card that is shown and is not to be had wants it more than others. */
  #isRestartWanted({ isPinInDoubt }: Missed, pin: Buffer): boolean {
    if (this.#isRestartWorth()) return true;
    return isPinInDoubt && pin.length > 0 && ![...this.#all].some((other) => other.#isBusyCard);
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
    const { pool } = this;
    if (this.#isBusyCard) return true;
    if (pool === undefined || !this.user.isAskedAnew) return false;
    return pool.busy || (pool.idle !== undefined && isLoggedIn(this.#module, pool.idle));
  }

  /** It may be waiting for a touch, and everybody else would then have to wait for that. */
  get #isBusyCard(): boolean {
    return this.pool?.isCard === true && this.pool.busy;
  }
}
