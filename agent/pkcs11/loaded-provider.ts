/** A provider whose library is loaded in a child process, and loaded again after a crash. */
import type { ProviderState, TokenDescription } from "../../protocol/extensions/list-providers.ts";
import { Failure } from "../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";
import type { UserInteraction } from "../signer.ts";
import type { Helper } from "./helper.ts";
import type { KnownKey } from "./inventory.ts";
import { type LibraryProcess, type LoadOptions, loadLibrary } from "./library-process.ts";
import { PinRequired } from "./messages.ts";
import { isPinRefused } from "./pin-failures.ts";
import { PinPrompts, pinQuestion, tokenName } from "./pin-prompt.ts";
import type { CardKey, Provider, ProviderStatus } from "./provider.ts";

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
  readonly interaction: UserInteraction;
}

const noPin = Buffer.alloc(0);

/**
 * Loads a library in a process of its own.
 * @param pin UTF-8, empty for none; the caller overwrites it
 * @param prepared a process that has loaded none yet
 * @throws {Failure} as `ProviderRegistry.add`
 */
export async function loadProvider(
  options: LoadOptions,
  pin: Buffer,
  prepared: Helper | undefined,
): Promise<Provider> {
  try {
    const process = await loadLibrary(options, pin, prepared);
    return new LoadedProvider(options, process);
  } catch (error) {
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
  readonly #process: LibraryProcess;
  /** The keys by their blobs, one character for each byte. */
  readonly #places: ReadonlyMap<string, Place>;
  readonly #prompts = new PinPrompts();
  /** How often the PINs were forgotten. */
  #forgettings = 0;

  constructor(options: LoadOptions, process: LibraryProcess) {
    const { inventory } = process;
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
    this.#places = new Map(places.map((place) => [blobId(place.key.keyBlob), place]));
    this.#process = process;
  }

  has(keyBlob: Buffer): boolean {
    return this.#places.has(blobId(keyBlob));
  }

  takesPin(keyBlob: Buffer): boolean {
    const place = this.#places.get(blobId(keyBlob));
    return place !== undefined && this.#takesPin(place);
  }

  async status(): Promise<ProviderStatus> {
    const tokens = await this.#process.states();
    return { state: bestOf(tokens), tokens };
  }

  async sign(
    keyBlob: Buffer,
    algorithm: SignatureAlgorithm,
    data: Buffer,
    interaction: UserInteraction,
  ): Promise<Buffer> {
    const place = this.#places.get(blobId(keyBlob));
    if (place === undefined) {
      throw new Failure("key-not-found", `The library ${this.library} has no such key.`);
    }
    return this.#signOrAsk({ place, algorithm, data, interaction }).catch((error: unknown) => {
      throw withName(error, this.requested);
    });
  }

  forgetPins(): void {
    this.#forgettings++;
    this.#process.forgetPins();
  }

  async closeWithoutFinalize(): Promise<void> {
    await this.#process.closeWithoutFinalize();
    this.#options.log(`exchanged ${this.path}`);
  }

  async close(): Promise<void> {
    await this.#process.close();
    this.#options.log(`unloaded ${this.path}`);
  }

  async #signOrAsk(job: Job): Promise<Buffer> {
    const { askPin } = job.interaction;
    const since = this.#prompts.ended(job.place.key.token);
    try {
      return await this.#signWith(job, noPin);
    } catch (error) {
      if (!(error instanceof PinRequired) || askPin === undefined) throw error;
      if (!this.#takesPin(job.place)) throw error;
      return this.#askAndSign(job, askPin, error, since);
    }
  }

  /**
   * Signs once the PIN was asked for. A key that wants it each time gets it with its signature;
   * otherwise those who wait for the same token share one prompt and one login. Whether a key
   * wants it each time may be seen after the login only, so the first of them has it for its key.
   */
  async #askAndSign(
    job: Job,
    askPin: NonNullable<UserInteraction["askPin"]>,
    missing: PinRequired,
    since: number,
  ): Promise<Buffer> {
    const { token: description, key } = job.place;
    const { token } = key;
    const { gone, keyName, pinBackoff } = job.interaction;
    this.#options.log(`a signature waits for the PIN of ${JSON.stringify(description.label)}`);
    let isAsked = false;
    let forgettings = 0;
    const ask = async (unwanted: AbortSignal) => {
      if (!pinBackoff.mayAsk(description)) return undefined;
      isAsked = true;
      forgettings = this.#forgettings;
      const question = pinQuestion(description, missing.isLastTry, keyName);
      const pin = await askPin(question, unwanted);
      if (pin === undefined) pinBackoff.noteInVain(description);
      return pin;
    };
    // A PIN that was given before all were to be forgotten is not used any more.
    const isForgotten = () => forgettings !== this.#forgettings;
    const check = () => {
      if (isForgotten()) throw missing;
    };
    const signIt = (pin: Buffer) => this.#signWith(job, pin, check);
    let own: Promise<Buffer> | undefined;
    const logInAndSign = async (pin: Buffer) => {
      await this.#process.ask(token, { type: "login", token, pin }, "done", check);
      if (gone.aborted) return;
      own = isForgotten() ? this.#signWith(job, noPin) : signIt(pin);
      await own.catch(() => {}); // the others have their login, whatever becomes of this one
    };
    try {
      if (key.alwaysAuthenticate) {
        return await this.#prompts.single({ token, missing, ask, use: signIt }, gone);
      }
      await this.#prompts.shared({ token, missing, ask, use: logInAndSign }, since, gone);
      gone.throwIfAborted();
      if (own !== undefined) return await own;
    } catch (error) {
      if (isAsked && isPinRefused(error)) pinBackoff.noteInVain(description);
      // The key that others' prompt was for has gone, which says nothing of this one.
      const isOfOther = !isAsked && error instanceof Failure && error.code === "key-not-found";
      if (!isOfOther) throw error;
      gone.throwIfAborted();
    }
    return this.#signOrAsk(job);
  }

  /** @param check called before the PIN is used */
  async #signWith(
    { place, algorithm, data, interaction }: Job,
    pin: Buffer,
    check?: () => void,
  ): Promise<Buffer> {
    await this.#process.ready();
    let done: (() => void) | undefined;
    const timer = setTimeout(() => {
      const { keyName, notify } = interaction;
      const name = tokenName(place.token);
      done = notify(`Card ${name} is to sign with key ${keyName}; touch it if it blinks.`);
    }, this.#options.limits.notice);
    try {
      const question = { type: "sign", key: place.index, algorithm, data, pin } as const;
      const { token } = place.key;
      return (await this.#process.ask(token, question, "signed", check)).signature;
    } finally {
      clearTimeout(timer);
      done?.();
    }
  }

  #takesPin({ key }: Place): boolean {
    return this.#process.inventory.tokens[key.token]?.login === "pin";
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

/**
 * A failure whose hint names the library, or the URI, so that it can be typed as it stands.
 * @param requested what was given to load it
 */
function withName(error: unknown, requested: string): unknown {
  if (!(error instanceof Failure) || !/-s LIB\b/.test(error.hint)) return error;
  const name = /^[\w./+-]+$/.test(requested)
    ? requested
    : `'${requested.replaceAll("'", "'\\''")}'`;
  const hint = error.hint.replace(/-s LIB\b/, () => `-s ${name}`);
  if (error instanceof PinRequired) return new PinRequired(error.message, hint, error.isLastTry);
  return new Failure(error.code, error.message, hint);
}

/** A key blob as a name in a map. */
function blobId(keyBlob: Buffer): string {
  return keyBlob.toString("latin1");
}
