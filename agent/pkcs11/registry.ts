/** The PKCS#11 providers that the agent has loaded. */
import { realpath } from "node:fs/promises";
import { isAbsolute } from "node:path";
import { Failure } from "../../protocol/failure.ts";
import type { AllowedProviders } from "../policy/allowed-providers.ts";
import { loadProvider } from "./loaded-provider.ts";
import {
  defaultLimits,
  type HelperCommand,
  type Provider,
  type ProviderLimits,
} from "./provider.ts";

export type { CardKey, HelperCommand, Provider, ProviderLimits } from "./provider.ts";

/** What a registry is made with. */
export interface RegistryOptions {
  /** The libraries that may be loaded. */
  readonly allowed: AllowedProviders;
  /** How a provider's child process is started. */
  readonly helper: HelperCommand;
  /** Limits that differ from the default. */
  readonly limits?: Partial<ProviderLimits>;
  /** Gets a line for each thing that happens to a provider; no line ever holds a PIN. */
  readonly log?: (line: string) => void;
  /** Lets the libraries' own messages through to the agent's standard error. */
  readonly showModuleMessages?: boolean;
}

/** The loaded providers, each under its canonical path. */
export class ProviderRegistry {
  readonly #options: RegistryOptions;
  readonly #limits: ProviderLimits;
  readonly #log: (line: string) => void;
  readonly #providers = new Map<string, Provider>();

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#log = options.log ?? (() => {});
  }

  /**
   * Loads a library in a new process and finds its keys. A library that is loaded already stays as
   * it is until the new process has succeeded, and keeps its place in the list.
   * @param requested the library's path
   * @param pin UTF-8, empty for none; it is overwritten before this returns
   * @throws {Failure} no-such-file, provider-not-allowed, not-a-pkcs11-module, no-token,
   *   no-usable-key, pin-required, pin-incorrect, pin-last-try, pin-locked, module-crashed,
   *   module-timeout
   */
  async add(requested: string, pin: Buffer): Promise<Provider> {
    try {
      const path = await this.allowedPath(requested);
      const { helper, showModuleMessages = false } = this.#options;
      const limits = this.#limits;
      const log = this.#log;
      const provider = await loadProvider(
        { path, requested, helper, limits, log, showModuleMessages },
        pin,
      );
      const old = this.#providers.get(path);
      this.#providers.set(path, provider);
      await old?.close();
      return provider;
    } finally {
      pin.fill(0);
    }
  }

  /**
   * The canonical path of a library that may be loaded.
   * @throws {Failure} no-such-file, provider-not-allowed
   */
  async allowedPath(requested: string): Promise<string> {
    const path = await canonicalPath(requested);
    if (!this.#options.allowed.allows(path)) throw notAllowed(path);
    return path;
  }

  /**
   * Unloads a library.
   * @param requested any path to its file; for a file that is gone, the path that it was loaded
   *   with or the canonical one
   * @returns the provider that was unloaded; its keys and tokens can still be read
   * @throws {Failure} not-loaded
   */
  async remove(requested: string): Promise<Provider> {
    const provider = await this.#find(requested);
    if (provider === undefined) {
      throw new Failure("not-loaded", `The library ${requested} is not loaded.`);
    }
    this.#providers.delete(provider.path);
    await provider.close();
    return provider;
  }

  /** The provider with this canonical path. */
  get(path: string): Provider | undefined {
    return this.#providers.get(path);
  }

  /** The providers, in the order in which they were first loaded. */
  list(): readonly Provider[] {
    return [...this.#providers.values()];
  }

  /** Unloads all libraries. */
  async removeAll(): Promise<void> {
    const providers = this.list();
    this.#providers.clear();
    await Promise.all(providers.map((provider) => provider.close()));
  }

  async #find(requested: string): Promise<Provider | undefined> {
    const known = this.#providers.get(requested);
    if (known !== undefined) return known;
    const path = await canonicalPath(requested).catch(() => undefined);
    if (path !== undefined) {
      const provider = this.#providers.get(path);
      if (provider !== undefined) return provider;
    }
    return this.list().find((provider) => provider.requested === requested);
  }
}

async function canonicalPath(requested: string): Promise<string> {
  try {
    return await realpath(requested);
  } catch (error) {
    throw noSuchFile(requested, (error as NodeJS.ErrnoException).code);
  }
}

function noSuchFile(requested: string, code: string | undefined): Failure {
  if (code === "EACCES") {
    return new Failure("no-such-file", `The agent may not read the folder of ${requested}.`);
  }
  const sentence = `There is no file ${JSON.stringify(requested)}.`;
  if (isAbsolute(requested)) return new Failure("no-such-file", sentence);
  const hint = "Give the whole path: the agent does not run in your folder.";
  return new Failure("no-such-file", sentence, hint);
}

function notAllowed(path: string): Failure {
  return new Failure("provider-not-allowed", `This agent may not load ${path}.`);
}
