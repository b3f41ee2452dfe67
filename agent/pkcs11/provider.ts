/**
 * A loaded PKCS#11 library, or the part of it that a PKCS#11 URI selects: its tokens, keys and
 * signatures. It runs in a child process, so calls never block the agent, and a crash is an
 * ordinary failure.
 */
import type {
  LeftOutObject,
  ProviderState,
  TokenDescription,
} from "../../protocol/extensions/list-providers.ts";
import { Failure } from "../../protocol/failure.ts";
import { blobId } from "../../protocol/public-key.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";
import { shellWord } from "../host/environment.ts";
import type { UserInteraction } from "../signer.ts";
import type { Child } from "./child-process.ts";
import { isPinRefused, type KnownToken, objectName, PinRequired } from "./messages.ts";
import { PinPrompts, pinQuestion, tokenName } from "./pin-prompt.ts";
import { type LoadOptions, Supervisor } from "./supervisor.ts";

/** A key on a token. */
export interface CardKey {
  /** The plain key blob (RFC 4253 section 6.6, RFC 5656, RFC 8709). */
  readonly keyBlob: Buffer;
  /** The object's label; without one, the path or URI that loaded the library. */
  readonly comment: string;
  /** CKA_ID and CKA_LABEL: `id` and `object` of a PKCS#11 URI. */
  readonly id: Buffer;
  readonly label: string;
  readonly token: TokenDescription;
}

/** A key, with its own and its token's index in the inventory. */
interface PlacedKey extends CardKey {
  readonly index: number;
  readonly tokenIndex: number;
  readonly known: KnownToken;
  /** Whether the agent sends its token the PIN; false for one with a PIN pad or without PIN. */
  readonly takesPin: boolean;
  readonly alwaysAuthenticate: boolean;
}

/** The state of a provider and of its tokens. */
export interface ProviderStatus {
  readonly state: ProviderState;
  /** In the order of the tokens. */
  readonly tokens: readonly ProviderState[];
  /** Whether the tokens are given back until the next signature. */
  readonly isReleased: boolean;
}

/** A requested signature. */
interface Job {
  readonly key: PlacedKey;
  readonly algorithm: SignatureAlgorithm;
  readonly data: Buffer;
  readonly interaction: UserInteraction;
}

const noPin = Buffer.alloc(0);

/** A loaded PKCS#11 provider. */
export class Provider {
  /** Its name: the canonical path of the library, or the canonical URI. */
  readonly path: string;
  /** The path or the URI as it was given. */
  readonly requested: string;
  /** The canonical path of the library, without symbolic links. */
  readonly library: string;
  readonly tokens: readonly TokenDescription[];
  /** What was found besides its keys, and why it is not among them. */
  leftOut: readonly LeftOutObject[];
  readonly #supervisor: Supervisor;
  readonly #options: LoadOptions;
  readonly #keys: Map<string, PlacedKey>;
  /** The tokens that may hide private keys, so that not all of their keys need have one. */
  readonly #unsettled: Set<number>;
  #onMissing: (keys: readonly CardKey[]) => void = () => {};
  readonly #prompts = new PinPrompts();
  /** Incremented by `forgetPins`, which makes PINs entered before it void. */
  #pinGeneration = 0;

  private constructor(options: LoadOptions, supervisor: Supervisor) {
    const { name, requested, library } = options.module;
    const { tokens, keys, leftOut } = supervisor.inventory;
    this.#options = options;
    this.#supervisor = supervisor;
    this.path = name;
    this.requested = requested;
    this.library = library;
    this.tokens = tokens.map(({ description }) => description);
    const placed = keys.map(({ token: tokenIndex, ...key }, index): PlacedKey => {
      const token = tokens[tokenIndex];
      if (token === undefined) throw new Failure("internal", "A key has no token.");
      const { description, login } = token;
      const comment = key.label || requested;
      const place = { index, tokenIndex, known: token, takesPin: login === "pin" };
      return { ...key, comment, token: description, ...place };
    });
    this.leftOut = leftOut;
    this.#unsettled = new Set(keys.filter(({ hidden }) => hidden).map(({ token }) => token));
    this.#keys = new Map(placed.map((key) => [blobId(key.keyBlob), key]));
  }

  /**
   * Loads a library in a process of its own.
   * @param pin UTF-8, empty for none; the caller overwrites it
   * @param prepared a process that has not loaded a library yet
   * @throws {Failure} as `ProviderRegistry.add`
   */
  static async load(
    options: LoadOptions,
    pin: Buffer,
    prepared: Child | undefined,
  ): Promise<Provider> {
    try {
      return new Provider(options, await Supervisor.load(options, pin, prepared));
    } catch (error) {
      throw withName(error, options.module.requested);
    }
  }

  /** In the tokens' order, each key blob once. */
  get keys(): readonly CardKey[] {
    return [...this.#keys.values()];
  }

  /**
   * Sets what happens when keys were listed that turn out to have no private key, since the token
   * was logged in for the first time. They are no longer among `keys` then.
   */
  set onMissing(act: (keys: readonly CardKey[]) => void) {
    this.#onMissing = act;
  }

  /** Whether it has a key. @param keyBlob the plain key blob */
  has(keyBlob: Buffer): boolean {
    return this.#keys.has(blobId(keyBlob));
  }

  /** Whether the agent sends a key's token its PIN; false for one with a PIN pad or without PIN. */
  takesPin(keyBlob: Buffer): boolean {
    return this.#keys.get(blobId(keyBlob))?.takesPin === true;
  }

  /** The state of its tokens, which the library is asked for with a short timeout. Never throws. */
  async status(): Promise<ProviderStatus> {
    const tokens = await this.#supervisor.states();
    return { state: bestOf(tokens), tokens, isReleased: this.#supervisor.isReleased };
  }

  /**
   * Signs with a key of this provider.
   * @param keyBlob the plain key blob
   * @param data the data to sign, not hashed; it must not change meanwhile
   * @param interaction asks the user for a PIN, at most once, and notifies them of a slow token
   * @returns the signature blob
   * @throws {Failure} key-not-found, pin-required, pin-incorrect, pin-last-try, pin-locked,
   *   token-removed, module-crashed, module-timeout, user-refused, unsupported
   */
  async sign(
    keyBlob: Buffer,
    algorithm: SignatureAlgorithm,
    data: Buffer,
    interaction: UserInteraction,
  ): Promise<Buffer> {
    const key = this.#keys.get(blobId(keyBlob));
    if (key === undefined) {
      throw new Failure("key-not-found", `The library ${this.library} has no such key.`);
    }
    try {
      return await this.#signOrAsk({ key, algorithm, data, interaction });
    } catch (error) {
      throw withName(error, this.requested);
    }
  }

  /** Overwrites the PINs cached for reconnecting. */
  forgetPins(): void {
    this.#pinGeneration++;
    this.#supervisor.forgetPins();
  }

  /** Ends the library's process with C_Finalize, or kills it when that takes too long. */
  async close(): Promise<void> {
    await this.#supervisor.close();
    this.#options.log(`unloaded ${this.path}`);
  }

  /**
   * Ends the library's process without C_Finalize, in which some libraries reset the card: the
   * process that replaces this one is already logged in.
   */
  async closeWithoutFinalize(): Promise<void> {
    await this.#supervisor.closeWithoutFinalize();
    this.#options.log(`exchanged ${this.path}`);
  }

  async #signOrAsk(job: Job): Promise<Buffer> {
    const { askPin } = job.interaction;
    const since = this.#prompts.ended(job.key.tokenIndex);
    try {
      return await this.#signWith(job, noPin);
    } catch (error) {
      const wantsPin = error instanceof PinRequired && job.key.takesPin;
      if (!wantsPin || askPin === undefined) throw error;
      return this.#askAndSign(job, askPin, error, since);
    }
  }

  /**
   * Asks for the PIN, then signs. A key with CKA_ALWAYS_AUTHENTICATE gets the PIN with its
   * signature; other signatures for a token share one prompt and one login. The attribute may
   * become visible only after the login, so the request that asked passes the PIN to its own
   * signature too.
   */
  async #askAndSign(
    job: Job,
    askPin: NonNullable<UserInteraction["askPin"]>,
    missing: PinRequired,
    since: number,
  ): Promise<Buffer> {
    const { token, known, tokenIndex, alwaysAuthenticate } = job.key;
    const { gone, keyName, pinBackoff } = job.interaction;
    this.#options.log(`a signature waits for the PIN of ${JSON.stringify(tokenName(token))}`);
    let isAsked = false;
    let pinGeneration = 0;
    const ask = async (signal: AbortSignal) => {
      if (!pinBackoff.mayAsk(known)) return undefined;
      isAsked = true;
      pinGeneration = this.#pinGeneration;
      const pin = await askPin(pinQuestion(token, missing.isLastTry, keyName), signal);
      if (pin === undefined) pinBackoff.noteInVain(known);
      return pin;
    };
    // Discard a PIN that was entered before `forgetPins`.
    const isForgotten = () => pinGeneration !== this.#pinGeneration;
    const check = () => {
      if (isForgotten()) throw missing;
    };
    const signIt = (pin: Buffer) => this.#signWith(job, pin, check);
    let own: Promise<Buffer> | undefined;
    const logInAndSign = async (pin: Buffer) => {
      const login = { type: "login", token: tokenIndex, pin } as const;
      await this.#supervisor.ask(tokenIndex, login, "done", check);
      if (gone.aborted) return;
      own = isForgotten() ? this.#signWith(job, noPin) : signIt(pin);
      await own.catch(() => {}); // the others share the login, not the result
    };
    const prompt = { token: tokenIndex, missing, ask };
    try {
      if (alwaysAuthenticate) return await this.#prompts.single({ ...prompt, use: signIt }, gone);
      await this.#prompts.shared({ ...prompt, use: logInAndSign }, since, gone);
      gone.throwIfAborted();
      if (own !== undefined) return await own;
    } catch (error) {
      if (isAsked && isPinRefused(error)) pinBackoff.noteInVain(known);
      // The shared prompt was for another key, which is missing; this one may be there.
      const isOfOther = !isAsked && error instanceof Failure && error.code === "key-not-found";
      if (!isOfOther) throw error;
      gone.throwIfAborted();
    }
    return this.#signOrAsk(job);
  }

  /** @param check called before the PIN is used */
  async #signWith(job: Job, pin: Buffer, check?: () => void): Promise<Buffer> {
    const { key, algorithm, data, interaction } = job;
    await this.#supervisor.ready();
    let done: (() => void) | undefined;
    const timer = setTimeout(() => {
      const key = `key ${interaction.keyName}`;
      const text = `Token ${tokenName(job.key.token)} is about to sign with ${key}; touch it if it blinks.`;
      done = interaction.notify(text);
    }, this.#options.limits.notice);
    try {
      const question = { type: "sign", key: key.index, algorithm, data, pin } as const;
      const { signature } = await this.#supervisor.ask(key.tokenIndex, question, "signed", check);
      if (this.#unsettled.has(key.tokenIndex)) void this.#removeMissing(key.tokenIndex);
      return signature;
    } finally {
      clearTimeout(timer);
      done?.();
    }
  }

  /** Removes the keys of a token that have no private key, once its private keys are visible. */
  async #removeMissing(token: number): Promise<void> {
    this.#unsettled.delete(token);
    const missing = await this.#supervisor.missingKeys(token).catch(() => undefined);
    if (missing === undefined) {
      this.#unsettled.add(token);
      return;
    }
    const gone = [...this.#keys.values()].filter(({ index }) => missing.includes(index));
    if (gone.length === 0) return;
    for (const { keyBlob } of gone) this.#keys.delete(blobId(keyBlob));
    const reason = "no private key";
    const objects = gone.map(({ label, id }) => objectName("public key", label, id));
    this.leftOut = [...this.leftOut, ...objects.map((object) => ({ object, reason, token }))];
    this.#onMissing(gone);
  }
}

/** The best state of any token. */
function bestOf(tokens: readonly ProviderState[]): ProviderState {
  const order: ProviderState[] = ["ready", "pin-needed", "card-absent"];
  return order.find((candidate) => tokens.includes(candidate)) ?? "module-failed";
}

/**
 * Puts the path or URI of the library into the hint of a failure, quoted for a shell.
 * @param requested the path or URI that loaded it
 */
function withName(error: unknown, requested: string): unknown {
  if (!(error instanceof Failure) || !/-s LIB\b/.test(error.hint)) return error;
  const hint = error.hint.replace(/-s LIB\b/, () => `-s ${shellWord(requested)}`);
  if (error instanceof PinRequired) return new PinRequired(error.message, hint, error.isLastTry);
  return new Failure(error.code, error.message, hint);
}
