/** A token in use: its sessions, its login, its keys, and what happens when it goes and comes. */
import pkcs11js from "pkcs11js";
import type { ProviderState } from "../../protocol/extensions/list-providers.ts";
import { Failure } from "../../protocol/failure.ts";
import { encodeSignature, type SignatureAlgorithm } from "../../protocol/signature.ts";
import { type Handle, libraryFailed, returnValue } from "./cryptoki.ts";
import { Pace } from "./pace.ts";
import { noUsableKey, pinRequired, signFailure, tokenRemoved } from "./refusals.ts";
import { closeSession, openSession, SessionPool } from "./session-pool.ts";
import { checkSignature, signatureInput, signatureLength, signatureMechanism } from "./signing.ts";
import { hasFlag, type SlotToken, tokenName } from "./slot-token.ts";
import { findKeys, findPrivateKey, type TokenKey } from "./token-keys.ts";
import { isLoggedIn, type LoginKind, locateToken, logIn, type Module } from "./tokens.ts";

/** What is known of a key besides what the token says. */
interface KeyInUse {
  readonly key: TokenKey;
  readonly mechanism: { readonly mechanism: number };
  readonly pace: Pace;
  handle: Handle | undefined;
}

/** A signature that is wanted. */
interface Job {
  readonly used: KeyInUse;
  /** What the library is given to sign. */
  readonly input: Buffer;
  readonly alone: boolean;
}

const noPin = Buffer.alloc(0);

/** Errors after which the token's sessions are opened again and its keys are searched again. */
const lost: ReadonlySet<string | undefined> = new Set([
  "CKR_TOKEN_NOT_PRESENT",
  "CKR_DEVICE_REMOVED",
  "CKR_SESSION_HANDLE_INVALID",
  "CKR_SESSION_CLOSED",
  "CKR_KEY_HANDLE_INVALID",
  "CKR_OBJECT_HANDLE_INVALID",
  "CKR_USER_NOT_LOGGED_IN",
]);

/** A token that was opened. */
export class Token {
  readonly #module: Module;
  readonly #login: LoginKind;
  readonly #keys: readonly KeyInUse[];
  #found: SlotToken;
  #pool: SessionPool;

  private constructor(
    module: Module,
    found: SlotToken,
    login: LoginKind,
    session: Handle,
    keys: readonly TokenKey[],
  ) {
    this.#module = module;
    this.#found = found;
    this.#login = login;
    this.#pool = new SessionPool(module.cryptoki, found.slot, session);
    this.#keys = keys.map((key) => ({
      key,
      mechanism: { mechanism: signatureMechanism(key.publicKey) },
      pace: new Pace(),
      handle: key.handle,
    }));
  }

  /**
   * Opens a token, logs in to it and finds its keys.
   * @param pin UTF-8, or empty
   * @throws {Failure} what `logIn` throws; pin-required and no-usable-key when it has no keys
   */
  static open(module: Module, found: SlotToken, pin: Buffer): Token {
    const { cryptoki } = module;
    const session = openFirst(module, found);
    try {
      const login = logIn(module, found, session, pin);
      const hidden = login === "none" && hasLogin(found);
      const keys = searchKeys(module, found, session, hidden);
      if (keys.length === 0) throw hidden ? pinRequired(found) : noUsableKey(found);
      return new Token(module, found, login, session, keys);
    } catch (error) {
      closeSession(cryptoki, session);
      throw error;
    }
  }

  /** What the token says of itself. */
  get description() {
    return this.#found.description;
  }

  get keys(): readonly TokenKey[] {
    return this.#keys.map(({ key }) => key);
  }

  /** Whether it was logged in to with a PIN. */
  get needsPin(): boolean {
    return this.#login === "pin";
  }

  /** What the token can do now. It asks the library unless that is busy with a signature. */
  state(): ProviderState {
    const session = this.#pool.idle;
    if (session === undefined || this.#pool.busy) return "ready";
    const now = locateToken(this.#module, this.#found);
    if (now === undefined) return "card-absent";
    if (!hasLogin(now) || this.#login === "pad") return "ready";
    if (this.#login === "none") return this.#keys.some(isVisible) ? "ready" : "pin-needed";
    return isLoggedIn(this.#module, session) ? "ready" : "pin-needed";
  }

  /**
   * Signs with the key at `index`. When the token has lost its sessions, they are opened again, once,
   * unless that needs the PIN.
   * @param alone whether no other signature is waited for
   * @returns the signature blob
   * @throws {Failure} as `Provider.sign`
   */
  async sign(
    index: number,
    algorithm: SignatureAlgorithm,
    data: Buffer,
    alone: boolean,
  ): Promise<Buffer> {
    const used = this.#keys[index];
    if (used === undefined) throw new Failure("key-not-found", "The card has no such key.");
    const { publicKey } = used.key;
    const input = signatureInput(publicKey, algorithm, data);
    const raw = await this.#signOrRecover({ used, input, alone });
    return encodeSignature(algorithm, checkSignature(publicKey, raw));
  }

  async #signOrRecover(job: Job): Promise<Buffer> {
    const pool = this.#pool;
    try {
      return await this.#signWith(pool, job);
    } catch (error) {
      if (!lost.has(returnValue(error))) throw this.#failure(job.used, error);
    }
    try {
      if (pool === this.#pool) this.#recover();
      return await this.#signWith(this.#pool, job);
    } catch (error) {
      throw this.#failure(job.used, error);
    }
  }

  async #signWith(pool: SessionPool, job: Job): Promise<Buffer> {
    const { cryptoki } = this.#module;
    const { used } = job;
    const taken = pool.take();
    const session = taken instanceof Promise ? await taken : taken;
    try {
      used.handle ??= findPrivateKey(cryptoki, session, used.key);
      if (used.handle === undefined) throw this.#unseen(session);
      cryptoki.C_SignInit(session, used.mechanism, used.handle);
      if (used.key.alwaysAuthenticate && this.#login === "pad") {
        this.#module.login(session, pkcs11js.CKU_CONTEXT_SPECIFIC, null);
      }
      const raw = await this.#finish(session, job);
      pool.release(session);
      return raw;
    } catch (error) {
      pool.replace(session);
      throw error;
    }
  }

  #finish(session: Handle, { used: { key, pace }, input, alone }: Job): Buffer | Promise<Buffer> {
    const { cryptoki } = this.#module;
    // A library that gives more than it should is to be caught by its length, not by an overrun.
    const output = Buffer.allocUnsafe(signatureLength(key.publicKey) + 64);
    const begun = performance.now();
    if (pace.atOnce(alone)) {
      const raw = cryptoki.C_Sign(session, input, output);
      pace.noteAtOnce((performance.now() - begun) * 1000);
      return raw;
    }
    return new Promise((resolve, reject) => {
      const done = (_held: Buffer, error: Error | null, raw: Buffer) => {
        pace.noteElsewhere((performance.now() - begun) * 1000);
        if (error) reject(error);
        else resolve(raw);
      };
      // The library reads `input` on another thread, and only this binding keeps it in memory.
      cryptoki.C_Sign(session, input, output, done.bind(undefined, input));
    });
  }

  /** Opens the token's sessions again, wherever the token is now. */
  #recover(): void {
    const now = locateToken(this.#module, this.#found);
    if (now === undefined) throw tokenRemoved(this.#found);
    const session = openFirst(this.#module, now);
    try {
      if (!isLoggedIn(this.#module, session)) this.#logInAgain(now, session);
    } catch (error) {
      closeSession(this.#module.cryptoki, session);
      throw error;
    }
    this.#pool.close();
    this.#found = now;
    this.#pool = new SessionPool(this.#module.cryptoki, now.slot, session);
    for (const used of this.#keys) used.handle = undefined;
  }

  #logInAgain(now: SlotToken, session: Handle): void {
    if (this.#login === "pin") throw pinRequired(now);
    if (this.#login === "pad") logIn(this.#module, now, session, noPin);
  }

  /** Why a session does not see a private key that the token had. */
  #unseen(session: Handle): Failure {
    if (hasLogin(this.#found) && !isLoggedIn(this.#module, session))
      return pinRequired(this.#found);
    const sentence = `The card ${tokenName(this.#found)} has this key no more.`;
    return new Failure("key-not-found", sentence);
  }

  #failure(used: KeyInUse, error: unknown): Failure {
    if (error instanceof Failure) return error;
    const failure = signFailure(this.#found, used.key.alwaysAuthenticate, error);
    if (failure.code !== "module-crashed") return failure;
    return locateToken(this.#module, this.#found) === undefined
      ? tokenRemoved(this.#found)
      : failure;
  }
}

function hasLogin(token: SlotToken): boolean {
  return hasFlag(token, pkcs11js.CKF_LOGIN_REQUIRED);
}

function isVisible(used: KeyInUse): boolean {
  return used.handle !== undefined;
}

function openFirst({ cryptoki }: Module, token: SlotToken): Handle {
  try {
    return openSession(cryptoki, token.slot);
  } catch (error) {
    const value = returnValue(error);
    if (value === "CKR_TOKEN_NOT_PRESENT" || value === "CKR_DEVICE_REMOVED") {
      throw tokenRemoved(token);
    }
    throw libraryFailed(`The card ${tokenName(token)} opens no session`, error);
  }
}

function searchKeys(module: Module, token: SlotToken, session: Handle, hidden: boolean) {
  try {
    return findKeys(module.cryptoki, session, hidden);
  } catch (error) {
    throw libraryFailed(`The keys of the card ${tokenName(token)} cannot be read`, error);
  }
}
