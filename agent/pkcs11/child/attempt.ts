/** One attempt at a signature, in one of a token's sessions. */
import { Failure } from "../../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../../protocol/signature.ts";
import { pkcs11js } from "./add-on.ts";
import { type Handle, returnValue, sessionLost, userNotLoggedIn } from "./cryptoki.ts";
import type { KeyInUse } from "./key-in-use.ts";
import type { Module } from "./module.ts";
import {
  isPinRefusal,
  isTroubleOfDevice,
  loginFailure,
  pinRequired,
  pinRequiredEachTime,
} from "./refusals.ts";
import type { SessionPool } from "./session-pool.ts";
import { signatureLength } from "./signing.ts";
import { hasSeenWrongPin, type SlotToken, tokenName } from "./slot-token.ts";
import type { TokenAccess } from "./token-access.ts";
import { isLoggedIn } from "./tokens.ts";

/** A signature that is wanted. */
export interface Job {
  readonly used: KeyInUse;
  readonly algorithm: SignatureAlgorithm;
  /** What is signed. */
  readonly data: Buffer;
  /** What the library is given to sign. */
  readonly input: Buffer;
  readonly alone: boolean;
  /** The token's PIN, or empty. */
  readonly pin: Buffer;
  /** Whether the token took so long to refuse that it may have waited for a touch. */
  hasWaited: boolean;
  /** Whether a login failed in a way that does not tell whether the token saw the PIN. */
  isPinInDoubt: boolean;
  /** Whether the library had trouble with the way to the card. */
  hadTrouble: boolean;
  /** Whether the card wants a login although it had one. */
  hasLostLogin: boolean;
}

/** What libraries say to a login for one operation before the token's user is logged in. */
const lacksLogin: ReadonlySet<string | undefined> = new Set([
  "CKR_USER_NOT_LOGGED_IN",
  "CKR_OPERATION_NOT_INITIALIZED",
]);

/** Milliseconds after which a refusal is that of a person who did not touch the card. */
const touchWait = 3000;

/** Attempts at signatures with the keys of one token. */
export class Attempts {
  readonly #module: Module;
  readonly #access: TokenAccess;

  constructor(module: Module, access: TokenAccess) {
    this.#module = module;
    this.#access = access;
  }

  /**
   * Signs in one of these sessions. One in which something failed is not used again.
   * @returns what the library gives as signature
   * @throws {Failure} pin-required, pin-last-try, pin-locked, pin-incorrect, key-not-found; other
   *   errors of the library as they are
   */
  sign(pool: SessionPool, job: Job): Promise<Buffer> {
    return this.#module.use(async () => {
      if (!pool.isOpen) throw sessionLost();
      const taken = pool.take();
      const session = taken instanceof Promise ? await taken : taken;
      try {
        const raw = await this.#signIn(pool, session, job);
        pool.release(session);
        return raw;
      } catch (error) {
        pool.replace(session);
        throw error;
      }
    });
  }

  async #signIn(pool: SessionPool, session: Handle, job: Job): Promise<Buffer> {
    const { used } = job;
    const { user } = this.#access;
    const { cryptoki } = this.#module;
    const handle = this.#handleIn(pool, session, used);
    if (handle === undefined) throw this.#unseen(session, job);
    const init = () => cryptoki.C_SignInit(session, used.mechanism, handle);
    if (used.alwaysAuthenticate) await user.inTurn(() => this.#initWithLogin(session, job, init));
    else init();
    const raw = await this.#finish(session, job);
    user.noteSigned(used.key);
    return raw;
  }

  #handleIn(pool: SessionPool, session: Handle, used: KeyInUse): Handle | undefined {
    const { description, login } = this.#access;
    const look = () => used.handleIn(this.#module.cryptoki, pool, session, description);
    const seen = look();
    // A login on another thread may have come to its end since it was looked for.
    const isShown = seen === undefined && login !== "none" && isLoggedIn(this.#module, session);
    return isShown ? look() : seen;
  }

  async #initWithLogin(session: Handle, job: Job, init: () => void): Promise<void> {
    const pin = this.#contextPin(job);
    try {
      init();
      await this.#logInForOne(session, job, pin);
    } finally {
      pin?.fill(0);
    }
  }

  /** The PIN for one signature, in bytes of its own, or null when the token asks for it itself. */
  #contextPin({ pin: given }: Job): Buffer | null {
    const { description, login, user } = this.#access;
    if (login === "protected-path") return null;
    if (given.length > 0) return Buffer.from(given);
    const now = this.#find();
    const kept = user.keptPinFor(now);
    if (kept === undefined) throw pinRequiredEachTime(description, now);
    return Buffer.from(kept);
  }

  /** The token as it is now, or else it is to be looked for in all ways there are. */
  #find(): SlotToken {
    const now = this.#access.tryLook();
    if (now === undefined) throw sessionLost();
    return now;
  }

  /** C_Login for the operation under way, which a key with CKA_ALWAYS_AUTHENTICATE wants. */
  async #logInForOne(session: Handle, job: Job, pin: Buffer | null): Promise<void> {
    const { description, user } = this.#access;
    const keep = user.beforeLogin();
    try {
      await this.#module.login(session, pkcs11js.CKU_CONTEXT_SPECIFIC, pin);
      keep(job.pin);
      if (pin !== null) user.pinFlags.noteAccepted(this.#access);
    } catch (error) {
      if (lacksLogin.has(returnValue(error))) throw userNotLoggedIn(); // the PIN was not looked at
      const now = this.#access.tryLook();
      if (isTroubleOfDevice(error) && (now === undefined || !hasSeenWrongPin(now))) {
        job.isPinInDoubt = true;
        throw error;
      }
      user.forget();
      const failure = loginFailure(description, now, error);
      // Nobody has just typed a wrong one.
      const isKept = pin !== null && job.pin.length === 0;
      throw isKept && isPinRefusal(failure) ? pinRequiredEachTime(description, now) : failure;
    }
  }

  #finish(session: Handle, job: Job): Buffer | Promise<Buffer> {
    const { cryptoki } = this.#module;
    const { input, alone, used } = job;
    const { key, pace } = used;
    // A library that gives more than it should is to be caught by its length, not by an overrun.
    const output = Buffer.allocUnsafe(signatureLength(key.publicKey) + 64);
    const begun = performance.now();
    if (pace.atOnce(alone)) {
      try {
        const length = cryptoki.C_Sign(session, input, output);
        pace.noteAtOnce((performance.now() - begun) * 1000);
        return output.subarray(0, length);
      } catch (error) {
        pace.noteFailure();
        job.hasWaited = performance.now() - begun > touchWait;
        throw error;
      }
    }
    return new Promise((resolve, reject) => {
      const done = (_held: Buffer, error: Error | null, length: number) => {
        const took = performance.now() - begun;
        job.hasWaited = took > touchWait;
        if (error !== null) return reject(error);
        pace.noteElsewhere(took * 1000);
        resolve(output.subarray(0, length));
      };
      // The library reads `input` on another thread, and only this binding keeps it in memory.
      cryptoki.C_SignCallback(session, input, output, done.bind(undefined, input));
    });
  }

  /** Why a session does not see a private key that the token had. */
  #unseen(session: Handle, { pin, used }: Job): Error {
    const { description, login, user } = this.#access;
    if (login !== "none" && !isLoggedIn(this.#module, session)) {
      if (user.canLogIn(pin)) return userNotLoggedIn();
      const missing = used.alwaysAuthenticate ? pinRequiredEachTime : pinRequired;
      return missing(description, this.#find());
    }
    return new Failure("key-not-found", `The card ${tokenName(description)} has this key no more.`);
  }
}
