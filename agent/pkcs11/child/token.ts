/** A token in use: its keys, and signatures with them, whatever has become of it meanwhile. */
import type { ProviderState } from "../../../protocol/extensions/list-providers.ts";
import { Failure } from "../../../protocol/failure.ts";
import { encodeSignature, type SignatureAlgorithm } from "../../../protocol/signature.ts";
import { verifySignature } from "../../../protocol/verification.ts";
import type { KnownToken } from "../inventory.ts";
import { Attempts, type Job } from "./attempt.ts";
import { returnValue, sessionLost } from "./cryptoki.ts";
import { KeyInUse } from "./key-in-use.ts";
import type { Module } from "./module.ts";
import {
  foreignSignature,
  isFinal,
  isLost,
  isTroubleOfDevice,
  notTouched,
  pinRequired,
  signFailure,
  tokenRemoved,
} from "./refusals.ts";
import { checkSignature, signatureInput } from "./signing.ts";
import { hasSeenWrongPin } from "./slot-token.ts";
import type { TokenAccess } from "./token-access.ts";
import type { TokenKey } from "./token-keys.ts";
import type { Renewal } from "./token-renewal.ts";

/** How often sessions are opened for one signature, should each be lost before it is used. */
const maxRenewals = 5;

/** A token whose keys sign. */
export class Token {
  readonly #access: TokenAccess;
  readonly #attempts: Attempts;
  readonly #keys: readonly KeyInUse[];

  /** @param keys with handles in the sessions that `access` has now */
  constructor(module: Module, access: TokenAccess, keys: readonly TokenKey[]) {
    this.#access = access;
    this.#attempts = new Attempts(module, access);
    access.user.noteKeys(keys.length);
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
    this.#access.user.forget();
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
    const input = signatureInput(publicKey, algorithm, data);
    const state = {
      hasWaited: false,
      isPinInDoubt: false,
      hadTrouble: false,
      hasLostLogin: false,
    };
    const job = { used, algorithm, data, input, alone, pin, ...state };
    const raw = await this.#signOrMend(job);
    const signature = encodeSignature(algorithm, checkSignature(publicKey, raw));
    // A card takes so long that a check costs nothing beside it.
    if (used.isProven && used.pace.isQuick) return signature;
    if (!verifySignature(publicKey, signature, data))
      throw foreignSignature(this.#access.description);
    used.isProven = true;
    return signature;
  }

  /**
   * Signs with the sessions there are, then with new ones, then after a login or a restart of the
   * library, whichever may help against what was seen.
   */
  async #signOrMend(job: Job): Promise<Buffer> {
    const access = this.#access;
    let tried: Renewal["also"] | undefined;
    for (let renewals = 0; ; renewals++) {
      const { pool } = access;
      try {
        if (pool !== undefined) return await this.#attempts.sign(pool, job);
        if (renewals > maxRenewals) throw sessionLost();
      } catch (error) {
        // Sessions that ended because the library was started again for another token tell nothing.
        if (pool?.isCurrent || renewals > maxRenewals) {
          tried = this.#remedy(job, error, tried);
          if (tried === undefined) throw await this.#failure(job, error);
        }
      }
      const hadLogin = access.user.isLoggedIn;
      await access.renew({ failed: pool, also: tried ?? "nothing", pin: job.pin });
      job.hasLostLogin ||= hadLogin && !access.user.isLoggedIn;
    }
  }

  /** What to try against an error, when something was tried before; undefined for nothing more. */
  #remedy(
    job: Job,
    error: unknown,
    tried: Renewal["also"] | undefined,
  ): Renewal["also"] | undefined {
    if (!isCurable(job, error) || tried === "restart") return undefined;
    job.hadTrouble ||= isTroubleOfDevice(error);
    if (wantsLogin(error)) {
      job.hasLostLogin ||= this.#access.user.isLoggedIn;
      // libykcs11, whose own PIN was refused when the card was reset, then holds the card for itself.
      if (job.hadTrouble && this.#hasSeenWrongPin()) return "restart";
      if (this.#access.user.canLogIn(job.pin) && tried !== "login") return "login";
      return tried === undefined ? "nothing" : undefined;
    }
    // A library that has taken the PIN for nothing is not given it more often than is of use.
    if (tried === undefined) return job.isPinInDoubt && !isLost(error) ? "restart" : "nothing";
    return isTroubleOfDevice(error) ? "restart" : undefined;
  }

  #hasSeenWrongPin(): boolean {
    const token = this.#access.look();
    return token !== undefined && hasSeenWrongPin(token);
  }

  async #failure(job: Job, error: unknown): Promise<Failure> {
    if (error instanceof Failure && !(job.hasLostLogin && error.code === "pin-required"))
      return error;
    const { description } = this.#access;
    if (wantsLogin(error) || job.hasLostLogin) await this.#access.noteLoginLost(job.hasLostLogin);
    const token = this.#access.look();
    if (token === undefined) return tokenRemoved(description);
    if (error instanceof Failure) return pinRequired(description, token);
    if (job.hasWaited && !isFinal(error)) return notTouched(description);
    return signFailure(token, job.used.alwaysAuthenticate, error);
  }
}

/** Whether new sessions, or a login, may help; a failure is final. */
function isCurable(job: Job, error: unknown): boolean {
  if (error instanceof Failure) return false;
  return !isFinal(error) && (!job.hasWaited || isLost(error));
}

function wantsLogin(error: unknown): boolean {
  return returnValue(error) === "CKR_USER_NOT_LOGGED_IN";
}
