/** A provider whose library is loaded in a child process, and loaded again after a crash. */
import type { ProviderState, TokenDescription } from "../../protocol/extensions/list-providers.ts";
import { asFailure, Failure } from "../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";
import { Helper } from "./helper.ts";
import type { Inventory, KnownKey } from "./inventory.ts";
import type { HelperReply } from "./messages.ts";
import { PinQuestions } from "./pin-questions.ts";
import type {
  CardHolder,
  CardKey,
  HelperCommand,
  Provider,
  ProviderLimits,
  ProviderStatus,
} from "./provider.ts";
import { withName } from "./refusals.ts";

/** What is needed to load a library. */
export interface LoadOptions {
  /** What the provider goes by. */
  readonly path: string;
  /** The path or the URI as it was given. */
  readonly requested: string;
  /** The canonical path of the library. */
  readonly library: string;
  /** A PKCS#11 URI that chooses tokens and keys; empty for all. */
  readonly selection: string;
  /** Seconds that a PIN is kept for reconnecting; 0 for not at all. */
  readonly keepPin: number;
  readonly helper: HelperCommand;
  readonly limits: ProviderLimits;
  readonly log: (line: string) => void;
  readonly showModuleMessages: boolean;
}

/** A key, and its place in the inventory. */
interface Place {
  readonly index: number;
  readonly key: KnownKey;
  readonly token: TokenDescription;
}

/** A signature that is wanted. */
interface Job {
  readonly place: Place;
  readonly algorithm: SignatureAlgorithm;
  readonly data: Buffer;
  readonly holder: CardHolder;
}

const noPin = Buffer.alloc(0);

/** Codes that the PIN would help against, of a request that came without one. */
const pinCodes: ReadonlySet<string> = new Set(["pin-required", "pin-last-try"]);

/**
 * Loads a library in a new process.
 * @param pin UTF-8, empty for none; the caller overwrites it
 * @throws {Failure} as `ProviderRegistry.add`
 */
export async function loadProvider(options: LoadOptions, pin: Buffer): Promise<Provider> {
  const helper = start(options);
  const { library: path, selection, keepPin, limits, log } = options;
  try {
    const question = { type: "load", path, selection, keepPin, pin } as const;
    const { inventory } = expected(await helper.ask(question, limits.load, "kill"), "loaded");
    log(`loaded ${path}: ${inventory.tokens.length} tokens, ${inventory.keys.length} keys`);
    return new LoadedProvider(options, helper, inventory);
  } catch (error) {
    log(`loading ${path} failed: ${asFailure(error).code}`);
    await helper.close(limits.close);
    throw withName(error, options.requested);
  }
}

class LoadedProvider implements Provider {
  readonly path: string;
  readonly requested: string;
  readonly library: string;
  readonly tokens: readonly TokenDescription[];
  readonly keys: readonly CardKey[];
  readonly #options: LoadOptions;
  readonly #inventory: Inventory;
  /** The keys by their blobs, one character for each byte. */
  readonly #places: ReadonlyMap<string, Place>;
  readonly #questions = new PinQuestions();
  #helper: Helper;
  /** The library is being loaded again, in this process. */
  #again: { readonly helper: Helper; readonly restored: Promise<Helper> } | undefined;
  /** Loading it again failed. */
  #failed = false;
  #closed = false;

  constructor(options: LoadOptions, helper: Helper, inventory: Inventory) {
    this.#options = options;
    this.path = options.path;
    this.requested = options.requested;
    this.library = options.library;
    this.tokens = inventory.tokens.map(({ description }) => description);
    const places = inventory.keys.map((key, index) => ({ index, key, token: this.#tokenOf(key) }));
    this.keys = places.map(({ key: { keyBlob, id, label }, token }) => ({
      keyBlob,
      comment: label || options.requested,
      id,
      label,
      token,
    }));
    this.#places = new Map(places.map((place) => [nameOf(place.key.keyBlob), place]));
    this.#inventory = inventory;
    this.#helper = helper;
  }

  has(keyBlob: Buffer): boolean {
    return this.#places.has(nameOf(keyBlob));
  }

  async status(): Promise<ProviderStatus> {
    const helper = this.#helper;
    if (!helper.running) return this.#statusWithoutHelper();
    try {
      const reply = await helper.ask({ type: "state" }, this.#options.limits.status, "leave");
      const { tokens } = expected(reply, "state");
      return { state: bestOf(tokens), tokens };
    } catch {
      // A library may be held up by a token that is waited for.
      return this.#all(helper.isSigning ? "ready" : "module-failed");
    }
  }

  async sign(
    keyBlob: Buffer,
    algorithm: SignatureAlgorithm,
    data: Buffer,
    holder: CardHolder,
  ): Promise<Buffer> {
    const place = this.#places.get(nameOf(keyBlob));
    if (place === undefined) {
      throw new Failure("key-not-found", `The library ${this.library} has no such key.`);
    }
    return this.#signOrAsk({ place, algorithm, data, holder }).catch((error: unknown) => {
      throw withName(error, this.requested);
    });
  }

  forgetPins(): void {
    this.#helper.tell({ type: "forget" });
    this.#again?.helper.tell({ type: "forget" });
  }

  async close(): Promise<void> {
    this.#closed = true;
    const { close } = this.#options.limits;
    await Promise.all([this.#again?.helper.close(close), this.#helper.close(close)]);
    this.#options.log(`unloaded ${this.path}`);
  }

  async #signOrAsk(job: Job): Promise<Buffer> {
    const { askPin } = job.holder;
    try {
      return await this.#signWith(job, noPin);
    } catch (error) {
      const isPinMissing = error instanceof Failure && pinCodes.has(error.code);
      if (!isPinMissing || askPin === undefined) throw error;
      return this.#signWithQuestion(job, askPin, error);
    }
  }

  /**
   * Signs once the PIN was asked for. A key that wants it each time gets it with its signature;
   * otherwise those who wait for the same token share one question and one login. Whether a key
   * wants it each time may be seen after the login only, so the first of them has it for its key.
   */
  async #signWithQuestion(
    job: Job,
    askPin: NonNullable<CardHolder["askPin"]>,
    missing: Failure,
  ): Promise<Buffer> {
    const { token, key } = job.place;
    const ask = () => askPin(token, missing.code === "pin-last-try");
    const signIt = (pin: Buffer) => this.#signWith(job, pin);
    if (key.alwaysAuthenticate) return this.#questions.alone(key.token, missing, ask, signIt);
    let own: Promise<Buffer> | undefined;
    await this.#questions.shared(key.token, missing, ask, async (pin) => {
      await this.#logIn(key.token, pin);
      own = signIt(pin);
      await own.catch(() => {}); // the others have their login, whatever becomes of this one
    });
    return own ?? this.#signOrAsk(job);
  }

  async #logIn(token: number, pin: Buffer): Promise<void> {
    const helper = await this.#running();
    const question = { type: "login", token, pin } as const;
    expected(await helper.ask(question, this.#options.limits.sign, "kill"), "done");
  }

  async #signWith({ place, algorithm, data, holder }: Job, pin: Buffer): Promise<Buffer> {
    const helper = this.#helper.running ? this.#helper : await this.#running();
    const { limits } = this.#options;
    const question = { type: "sign", key: place.index, algorithm, data, pin } as const;
    let done: (() => void) | undefined;
    const timer = setTimeout(() => {
      done = holder.notify(place.token);
    }, limits.notice);
    try {
      return expected(await helper.ask(question, limits.sign, "kill"), "signed").signature;
    } finally {
      clearTimeout(timer);
      done?.();
    }
  }

  /** The process of the library: a new one, when the last one has ended. */
  async #running(): Promise<Helper> {
    if (this.#helper.running) return this.#helper;
    if (this.#closed) throw new Failure("not-loaded", `The library ${this.path} was unloaded.`);
    this.#again ??= this.#restore();
    try {
      this.#helper = await this.#again.restored;
      this.#failed = false;
      return this.#helper;
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  #restore(): { readonly helper: Helper; readonly restored: Promise<Helper> } {
    const helper = start(this.#options);
    const { library: path, keepPin, limits } = this.#options;
    const question = { type: "restore", path, keepPin, inventory: this.#inventory } as const;
    const restored = helper
      .ask(question, limits.load, "kill")
      .then((reply) => {
        expected(reply, "done");
        return helper;
      })
      .catch(async (error: unknown) => {
        await helper.close(limits.close);
        throw error;
      })
      .finally(() => {
        this.#again = undefined;
      });
    return { helper, restored };
  }

  #statusWithoutHelper(): ProviderStatus {
    if (this.#failed || this.#closed) return this.#all("module-failed");
    const tokens = this.#inventory.tokens.map(({ login }) =>
      login === "pin" ? "pin-needed" : "module-failed",
    );
    return { state: bestOf(tokens), tokens };
  }

  #all(state: ProviderState): ProviderStatus {
    return { state, tokens: this.tokens.map(() => state) };
  }

  #tokenOf({ token }: KnownKey): TokenDescription {
    const known = this.tokens[token];
    if (known === undefined) throw new Failure("internal", "A key is on no token.");
    return known;
  }
}

/** The best that any of the tokens can do. */
function bestOf(tokens: readonly ProviderState[]): ProviderState {
  const order: ProviderState[] = ["ready", "pin-needed", "card-absent"];
  return order.find((candidate) => tokens.includes(candidate)) ?? "module-failed";
}

function start({ helper: command, library, showModuleMessages, log }: LoadOptions): Helper {
  const helper = new Helper(command, library, showModuleMessages);
  log(`loading ${library} in process ${helper.pid}`);
  void helper.ended.then(() => log(`process ${helper.pid} of ${library} has ended`));
  return helper;
}

function expected<Type extends HelperReply["type"]>(
  reply: HelperReply,
  type: Type,
): HelperReply & { type: Type } {
  if (isReply(reply, type)) return reply;
  throw new Failure("internal", "The process of the library gave another answer than asked for.");
}

function isReply<Type extends HelperReply["type"]>(
  reply: HelperReply,
  type: Type,
): reply is HelperReply & { type: Type } {
  return reply.type === type;
}

/** A key blob as a name in a map. */
function nameOf(keyBlob: Buffer): string {
  return keyBlob.toString("latin1");
}
