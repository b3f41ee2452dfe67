/** A provider whose library is loaded in a child process, and loaded again after a crash. */
import type { ProviderState, TokenDescription } from "../../protocol/extensions/list-providers.ts";
import { asFailure, Failure } from "../../protocol/failure.ts";
import type { SignatureAlgorithm } from "../../protocol/signature.ts";
import { Helper } from "./helper.ts";
import type { HelperReply, LoadedKey } from "./messages.ts";
import type { CardKey, HelperCommand, Provider, ProviderLimits } from "./provider.ts";

/** What is needed to load a library. */
export interface LoadOptions {
  /** The canonical path. */
  readonly path: string;
  /** The path as it was given. */
  readonly requested: string;
  readonly helper: HelperCommand;
  readonly limits: ProviderLimits;
  readonly log: (line: string) => void;
  readonly showModuleMessages: boolean;
}

/** A process in which the library is loaded, and what it said. */
interface Loaded {
  readonly helper: Helper;
  readonly tokens: readonly TokenDescription[];
  readonly keys: readonly LoadedKey[];
  /** The keys' places by their blobs, one character for each byte. */
  readonly places: ReadonlyMap<string, number>;
}

const noPin = Buffer.alloc(0);

/**
 * Loads a library in a new process.
 * @param pin UTF-8, empty for none; the caller overwrites it
 * @throws {Failure} as `ProviderRegistry.add`
 */
export async function loadProvider(options: LoadOptions, pin: Buffer): Promise<Provider> {
  return new LoadedProvider(options, await load(start(options), options, pin));
}

class LoadedProvider implements Provider {
  readonly path: string;
  readonly requested: string;
  readonly tokens: readonly TokenDescription[];
  readonly keys: readonly CardKey[];
  readonly #options: LoadOptions;
  /** The keys by their blobs, as they were when the library was loaded first. */
  readonly #known: ReadonlyMap<string, LoadedKey>;
  #loaded: Loaded;
  /** The library is being loaded again, in this process. */
  #again: { readonly helper: Helper; readonly loaded: Promise<Loaded> } | undefined;
  /** Loading it again failed. */
  #failed = false;
  #closed = false;

  constructor(options: LoadOptions, loaded: Loaded) {
    this.#options = options;
    this.path = options.path;
    this.requested = options.requested;
    this.tokens = loaded.tokens;
    this.keys = loaded.keys.map(({ keyBlob, label }) => ({
      keyBlob,
      comment: label || options.requested,
    }));
    this.#known = new Map(loaded.keys.map((key) => [nameOf(key.keyBlob), key]));
    this.#loaded = loaded;
  }

  async state(): Promise<ProviderState> {
    const { helper, keys } = this.#loaded;
    if (!helper.running) {
      if (this.#failed || this.#closed) return "module-failed";
      return keys.every(({ needsPin }) => needsPin) ? "pin-needed" : "module-failed";
    }
    try {
      const reply = await helper.ask({ type: "state" }, this.#options.limits.status, "leave");
      return reply.type === "state" ? reply.state : "module-failed";
    } catch {
      return "module-failed";
    }
  }

  async sign(keyBlob: Buffer, algorithm: SignatureAlgorithm, data: Buffer): Promise<Buffer> {
    const name = nameOf(keyBlob);
    const { helper, places } = this.#loaded.helper.running
      ? this.#loaded
      : await this.#loadAgain(name);
    const key = places.get(name);
    if (key === undefined) throw noSuchKey(this.path);
    const question = { type: "sign", key, algorithm, data } as const;
    const reply = await helper.ask(question, this.#options.limits.sign, "kill");
    return expected(reply, "signed").signature;
  }

  async close(): Promise<void> {
    this.#closed = true;
    const { close } = this.#options.limits;
    await Promise.all([this.#again?.helper.close(close), this.#loaded.helper.close(close)]);
    this.#options.log(`unloaded ${this.path}`);
  }

  /** Starts a new process for a key whose process has ended, if that goes without the PIN. */
  async #loadAgain(name: string): Promise<Loaded> {
    if (this.#closed) throw new Failure("not-loaded", `The library ${this.path} was unloaded.`);
    const key = this.#known.get(name);
    if (key === undefined) throw noSuchKey(this.path);
    if (key.needsPin) {
      const sentence = `The process of the library ${this.path} ended, and its PIN was not kept.`;
      throw new Failure("pin-required", sentence);
    }
    this.#again ??= this.#begin();
    try {
      this.#loaded = await this.#again.loaded;
      this.#failed = false;
      return this.#loaded;
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  #begin(): { readonly helper: Helper; readonly loaded: Promise<Loaded> } {
    const helper = start(this.#options);
    const loaded = load(helper, this.#options, noPin).finally(() => {
      this.#again = undefined;
    });
    return { helper, loaded };
  }
}

function start({ helper: command, path, showModuleMessages, log }: LoadOptions): Helper {
  const helper = new Helper(command, path, showModuleMessages);
  log(`loading ${path} in process ${helper.pid}`);
  void helper.ended.then(() => log(`process ${helper.pid} of ${path} has ended`));
  return helper;
}

async function load(helper: Helper, options: LoadOptions, pin: Buffer): Promise<Loaded> {
  const { path, limits, log } = options;
  try {
    const reply = await helper.ask({ type: "load", path, pin }, limits.load, "kill");
    const { tokens, keys } = expected(reply, "loaded");
    const places = new Map(keys.map(({ keyBlob }, place) => [nameOf(keyBlob), place]));
    log(`loaded ${path}: ${tokens.length} tokens, ${keys.length} keys`);
    return { helper, tokens, keys, places };
  } catch (error) {
    log(`loading ${path} failed: ${asFailure(error).code}`);
    await helper.close(limits.close);
    throw error;
  }
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

function noSuchKey(path: string): Failure {
  return new Failure("key-not-found", `The library ${path} has no such key.`);
}

/** A key blob as a name in a map. */
function nameOf(keyBlob: Buffer): string {
  return keyBlob.toString("latin1");
}
