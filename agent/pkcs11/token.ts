/** A token in use: its keys, and signatures with them, whatever has become of it meanwhile. */
import type { ProviderState } from "../../protocol/extensions/list-providers.ts";
import { Failure } from "../../protocol/failure.ts";
import {
  encodeSignature,
  type SignatureAlgorithm,
  verifySignature,
} from "../../protocol/signature.ts";
import { pkcs11js } from "./add-on.ts";
import { type Handle, returnValue, userNotLoggedIn } from "./cryptoki.ts";
import type { KnownToken } from "./inventory.ts";
import { KeyInUse } from "./key-in-use.ts";
import type { Module } from "./module.ts";
import {
  foreignSignature,
  isFinal,
  isLost,
  isTroubleOfDevice,
  loginFailure,
  notTouched,
  pinRequired,
  pinRequiredEachTime,
  signFailure,
  tokenRemoved,
  wantsLogin,
} from "./refusals.ts";
import type { SessionPool } from "./session-pool.ts";
import { checkSignature, signatureInput, signatureLength } from "./signing.ts";
import { hasSeenWrongPin, type SlotToken, tokenName } from "./slot-token.ts";
import type { Renewal, TokenAccess } from "./token-access.ts";
import type { TokenKey } from "./token-keys.ts";
import { isLoggedIn, locateToken } from "./tokens.ts";

/** A signature that is wanted. */
interface Job {
  readonly used: KeyInUse;
  /** What the library is given to sign. */
  readonly input: Buffer;
  readonly alone: boolean;
  /** The token's PIN, or empty. */
  readonly pin: Buffer;
  /** Whether the token took so long to refuse that it may have waited for a touch. */
  hasWaited: boolean;
  /** Whether the library had trouble with the way to the card. */
  hadTrouble: boolean;
}

/** What libraries say to a login for one operation before the token's user is logged in. */
const lacksLogin: ReadonlySet<string | undefined> = new Set([
  "CKR_USER_NOT_LOGGED_IN",
  "CKR_OPERATION_NOT_INITIALIZED",
]);

/** Milliseconds after which a refusal is that of a person who did not touch the card. */
const touchWait = 3000;

/** A token whose keys sign. */
export class Token {
  readonly #module: Module;
  readonly #access: TokenAccess;
  readonly #keys: readonly KeyInUse[];

  /** @param keys with handles in the sessions that `access` has now */
  constructor(module: Module, access: TokenAccess, keys: readonly TokenKey[]) {
    this.#module = module;
    this.#access = access;
    this.#keys = keys.map((key) => new KeyInUse(key, access.pool));
  }

  /** What the token is. */
  get known(): KnownToken {
    return this.#access;
  }

  get keys(): readonly TokenKey[] {
    return this.#keys.map(({ key }) => key);
  }

  /** What the token can do now. It asks the library unless that is busy with the token. */
  state(): Promise<ProviderState> {
    return this.#access.state();
  }

  /**
   * Logs in to the token.
   * @param pin UTF-8; it is kept if PINs are
   * @throws {Failure} token-removed, pin-incorrect, pin-last-try, pin-locked, module-crashed
   */
  login(pin: Buffer): Promise<void> {
    return this.#access.renew({ failed: this.#access.pool, also: "login", pin });
  }

  /** Overwrites the PIN, if one is kept. */
  forget(): void {
    this.#access.forget();
  }

  /**
   * Signs with the key at `index`. When that fails, the token's sessions are opened again, and its
   * login is made again, each once, unless that needs a PIN that is not at hand.
   * @param alone whether no other signature is waited for
   * @param pin the token's PIN, or empty
   * @returns the signature blob
   * @throws {Failure} as `Provider.sign`
   */
  async sign(
    index: number,
    algorithm: SignatureAlgorithm,
    data: Buffer,
    alone: boolean,
    pin: Buffer,
  ): Promise<Buffer> {
    const used = this.#keys[index];
    if (used === undefined) throw new Failure("key-not-found", "The card has no such key.");
    const { publicKey } = used.key;
    const job = {
      used,
      input: signatureInput(publicKey, algorithm, data),
      alone,
      pin,
      hasWaited: false,
      hadTrouble: false,
    };
    const raw = await this.#signOrMend(job);
    const signature = encodeSignature(algorithm, checkSignature(publicKey, raw));
    // A card takes so long that a check costs nothing beside it.
    if (used.isProven && used.pace.isQuick) return signature;
    if (!verifySignature(publicKey, signature, data))
      throw foreignSignature(this.#access.description);
    used.isProven = true;
    return signature;
  }

  /** The token as it is now. */
  #look(): SlotToken | undefined {
    return locateToken(this.#module, this.#access.description, undefined).token;
  }

  #hasSeenWrongPin(): boolean {
    const token = this.#look();
    return token !== undefined && hasSeenWrongPin(token);
  }

  /**
   * Signs with the sessions there are, then with new ones, then after a login or a restart of the
   * library, whichever may help against what was seen.
   */
  async #signOrMend(job: Job): Promise<Buffer> {
    const access = this.#access;
    let also: Renewal["also"] | undefined;
    for (;;) {
      const { pool } = access;
      if (pool === undefined && also === undefined) also = "nothing";
      else {
        try {
          return await this.#signWith(pool, job);
        } catch (error) {
          also = this.#remedy(job, error, also);
          if (also === undefined) throw this.#failure(job, error);
        }
      }
      await access.renew({ failed: pool, also, pin: job.pin });
    }
  }

  /** What to try against an error, when something was tried before; undefined for nothing more. */
  #remedy(
    job: Job,
    error: unknown,
    tried: Renewal["also"] | undefined,
  ): Renewal["also"] | undefined {
    if (!this.#isCurable(job, error) || tried === "restart") return undefined;
    job.hadTrouble ||= isTroubleOfDevice(error);
    if (wantsLogin(error)) {
      // libykcs11, whose own PIN was refused when the card was reset, then holds the card for itself.
      if (job.hadTrouble && this.#hasSeenWrongPin()) return "restart";
      if (this.#access.canLogIn(job.pin) && tried !== "login") return "login";
      return tried === undefined ? "nothing" : undefined;
    }
    if (tried === undefined) return "nothing";
    return isTroubleOfDevice(error) ? "restart" : undefined;
  }

  async #signWith(pool: SessionPool | undefined, job: Job): Promise<Buffer> {
    if (pool === undefined) throw tokenRemoved(this.#access.description);
    if (this.#module.restarting !== undefined) await this.#module.restarting;
    const { cryptoki } = this.#module;
    const { used } = job;
    const taken = pool.take();
    const session = taken instanceof Promise ? await taken : taken;
    try {
      const handle = used.handleIn(cryptoki, pool, session, this.#access.description);
      if (handle === undefined) throw this.#unseen(session);
      const context = used.alwaysAuthenticate ? this.#contextPin(job) : undefined;
      cryptoki.C_SignInit(session, used.mechanism, handle);
      if (context !== undefined) await this.#logInForOne(session, context.pin, job.pin);
      const raw = await this.#finish(session, job);
      this.#access.noteSigned();
      pool.release(session);
      return raw;
    } catch (error) {
      pool.replace(session);
      throw error;
    }
  }

  /** The PIN for one signature, or null when the token asks for it itself. */
  #contextPin({ pin: given }: Job): { readonly pin: Buffer | null } {
    if (this.#access.login === "pad") return { pin: null };
    const pin = this.#access.pinFor(given);
    if (pin === undefined) throw pinRequiredEachTime(this.#access.description, this.#look());
    return { pin: Buffer.from(pin) };
  }

  /**
   * C_Login for the operation under way, which a key with CKA_ALWAYS_AUTHENTICATE wants.
   * @param given the PIN if it has just been given, for keeping it; else empty
   */
  async #logInForOne(session: Handle, pin: Buffer | null, given: Buffer): Promise<void> {
    try {
      await this.#module.login(session, pkcs11js.CKU_CONTEXT_SPECIFIC, pin);
      this.#access.keep(given);
    } catch (error) {
      const { description } = this.#access;
      if (lacksLogin.has(returnValue(error))) throw userNotLoggedIn(); // the PIN was not looked at
      this.#access.forget();
      throw loginFailure(description, this.#look(), error);
    } finally {
      pin?.fill(0);
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
    return this.#module.elsewhere(
      () =>
        new Promise((resolve, reject) => {
          const done = (_held: Buffer, error: Error | null, length: number) => {
            const took = performance.now() - begun;
            job.hasWaited = took > touchWait;
            if (error !== null) return reject(error);
            pace.noteElsewhere(took * 1000);
            resolve(output.subarray(0, length));
          };
          // The library reads `input` on another thread, and only this binding keeps it in memory.
          cryptoki.C_SignCallback(session, input, output, done.bind(undefined, input));
        }),
    );
  }

  /** Why a session does not see a private key that the token had. */
  #unseen(session: Handle): Failure {
    const { description, login } = this.#access;
    if (login !== "none" && !isLoggedIn(this.#module, session)) {
      return pinRequired(description, this.#look());
    }
    return new Failure("key-not-found", `The card ${tokenName(description)} has this key no more.`);
  }

  /** Whether new sessions, or a login, may help. */
  #isCurable(job: Job, error: unknown): boolean {
    if (error instanceof Failure) {
      return error.code === "pin-required" && this.#access.canLogIn(job.pin);
    }
    return !isFinal(error) && (!job.hasWaited || isLost(error));
  }

  #failure(job: Job, error: unknown): Failure {
    if (error instanceof Failure) return error;
    const { description } = this.#access;
    const token = this.#look();
    if (token === undefined) return tokenRemoved(description);
    if (job.hasWaited && !isFinal(error)) return notTouched(description);
    if (wantsLogin(error)) this.#access.noteLoginLost();
    return signFailure(token, job.used.alwaysAuthenticate, error);
  }
}
