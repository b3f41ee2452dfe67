/** The PKCS#11 providers that the agent has loaded. */

import { isPkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import { Failure } from "../../protocol/failure.ts";
import type { AllowedProviders } from "../policy/allowed-providers.ts";
import { Child, type ChildCommand, defaultLimits, type ProviderLimits } from "./child-process.ts";
import { checkLibraryFile } from "./library-file.ts";
import { canonicalPath, type ResolvedModule, resolveModule } from "./module-uri.ts";
import { Provider } from "./provider.ts";
import { matchProviders, type ProviderMatch } from "./provider-match.ts";
import { SpareChild, type SpareTimes } from "./spare-child.ts";

/** What a registry is made with. */
export interface RegistryOptions {
  /** The libraries that may be loaded. */
  readonly allowed: AllowedProviders;
  /** How a provider's child process is started. */
  readonly child: ChildCommand;
  /** Limits that differ from the default. */
  readonly limits?: Partial<ProviderLimits>;
  /** Seconds that the PIN of a card is kept for reconnecting to it; 0 or nothing for not at all. */
  readonly keepPin?: number;
  /** Gets a line for each thing that happens to a provider; no line ever holds a PIN. */
  readonly log?: (line: string) => void;
  /** Lets the libraries' own messages through to the agent's standard error. */
  readonly showModuleMessages?: boolean;
  /** When a child process is started ahead of time; never without. */
  readonly spareTimes?: SpareTimes;
}

/** A process in which a library is started, and nothing more is done. */
export interface PreparedProvider {
  /** The canonical path of the library. */
  readonly library: string;
  readonly child: Child;
}

/** The loaded providers, each under the canonical path or URI that it goes by. */
export class ProviderRegistry {
  readonly #options: RegistryOptions;
  readonly #limits: ProviderLimits;
  readonly #log: (line: string) => void;
  readonly #spare: SpareChild;
  /** Whether somebody has shown interest in cards. */
  #isUsed = false;
  readonly #providers = new Map<string, Provider>();
  /** The same, in the order in which they were loaded, or loaded again. */
  readonly #byLoad = new Set<Provider>();
  /** How often everything was unloaded. */
  #clearances = 0;
  /** How often all PINs were forgotten. */
  #forgettings = 0;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#log = options.log ?? (() => {});
    const { child, showModuleMessages = false, allowed } = options;
    const spareTimes = allowed.allowsAny ? options.spareTimes : undefined;
    this.#spare = new SpareChild(() => new Child(child, showModuleMessages), spareTimes);
  }

  /** Notes that cards are used: a process is made ready for the first library. */
  noteUse(): void {
    if (this.#isUsed) return;
    this.#isUsed = true;
    this.#spare.keep();
  }

  /**
   * Starts a process for a library that is about to be added, and the library in it. What goes wrong
   * there is found again, and told, when it is added.
   * @throws {Failure} malformed, no-such-file, provider-not-allowed, not-a-pkcs11-module
   */
  async prepare(requested: string): Promise<PreparedProvider> {
    this.noteUse();
    const { library } = await this.#resolve(requested);
    const child = this.#startChild();
    child.serve(library);
    child.ask({ type: "open", path: library }, this.#limits.load, "kill").catch(() => {});
    return { library, child };
  }

  /** Ends what was prepared in vain. */
  abandon(prepared: PreparedProvider | undefined): void {
    if (prepared !== undefined) void this.#discard(prepared.child, prepared.library);
  }

  /**
   * Loads a library in a new process and finds its keys. A library that is loaded already stays as
   * it is until the new process has succeeded, and keeps its place in the list.
   * @param requested the library's path, or a PKCS#11 URI
   * @param pin UTF-8, empty for none; it is overwritten before this returns
   * @param takePrepared gives what was prepared for a library, if anything was
   * @param adopt gets the provider just before it takes the place of an older one; when it throws,
   *   the older one stays
   * @throws {Failure} malformed, no-such-file, provider-not-allowed, not-a-pkcs11-module, no-token,
   *   no-usable-key, pin-required, pin-incorrect, pin-last-try, pin-locked, module-crashed,
   *   module-timeout, not-loaded (when everything was unloaded meanwhile)
   */
  async add(
    requested: string,
    pin: Buffer,
    takePrepared: (library: string) => Child | undefined = () => undefined,
    adopt: (provider: Provider) => void = () => {},
  ): Promise<Provider> {
    const [clearances, forgettings] = [this.#clearances, this.#forgettings];
    this.noteUse();
    try {
      const module = await this.#resolve(requested);
      const provider = await this.#load(module, pin, takePrepared(module.library));
      if (forgettings !== this.#forgettings) provider.forgetPins();
      try {
        if (clearances !== this.#clearances) throw allRemoved();
        adopt(provider);
      } catch (error) {
        await (this.#isLoaded(provider.library)
          ? provider.closeWithoutFinalize()
          : provider.close());
        throw error;
      }
      const old = this.#providers.get(provider.path);
      this.#providers.set(provider.path, provider);
      this.#byLoad.add(provider);
      if (old !== undefined) this.#byLoad.delete(old);
      await old?.closeWithoutFinalize();
      return provider;
    } finally {
      pin.fill(0);
    }
  }

  /**
   * The canonical path of a library that may be loaded.
   * @throws {Failure} no-such-file, provider-not-allowed, not-a-pkcs11-module
   */
  async allowedPath(requested: string): Promise<string> {
    const path = await canonicalPath(requested);
    await this.#checkAllowed(path);
    return path;
  }

  /**
   * What a request to remove names: for a path, all that was loaded from that library; for a URI,
   * what was loaded by one of the same meaning, or else the keys that it matches.
   * @param requested any path to the library's file; for a file that is gone, the path that it was
   *   loaded with or the canonical one; or a PKCS#11 URI
   * @throws {Failure} malformed, not-loaded
   */
  async match(requested: string): Promise<readonly ProviderMatch[]> {
    const matches = await matchProviders(this.list(), requested);
    if (matches.length > 0) return matches;
    const sentence = isPkcs11Uri(requested)
      ? `Nothing is loaded that ${requested} matches.`
      : `The library ${requested} is not loaded.`;
    throw new Failure("not-loaded", sentence);
  }

  /**
   * Unloads all that a path or a URI names as a whole; its keys and tokens can still be read.
   * @throws {Failure} malformed, not-loaded
   */
  async remove(requested: string): Promise<readonly Provider[]> {
    const whole = (await this.match(requested)).filter(({ keys }) => keys === undefined);
    const providers = whole.map(({ provider }) => provider);
    await Promise.all(providers.map((provider) => this.unload(provider)));
    return providers;
  }

  /** Unloads a provider. */
  async unload(provider: Provider): Promise<void> {
    if (this.#providers.get(provider.path) === provider) this.#providers.delete(provider.path);
    this.#byLoad.delete(provider);
    await provider.close();
  }

  /** The provider that goes by a canonical path or URI. */
  get(path: string): Provider | undefined {
    return this.#providers.get(path);
  }

  /** The providers, in the order in which they were first loaded. */
  list(): readonly Provider[] {
    return [...this.#providers.values()];
  }

  /** The providers, the one first that was loaded last, or loaded again. */
  lastLoadedFirst(): readonly Provider[] {
    return [...this.#byLoad].reverse();
  }

  /** Overwrites all PINs that are kept. */
  forgetPins(): void {
    this.#forgettings++;
    for (const provider of this.#providers.values()) provider.forgetPins();
  }

  /** Unloads all libraries, also those that are just being loaded. */
  async removeAll(): Promise<void> {
    this.#clearances++;
    const providers = this.list();
    this.#providers.clear();
    this.#byLoad.clear();
    await Promise.all(providers.map((provider) => provider.close()));
  }

  async #resolve(requested: string): Promise<ResolvedModule> {
    const module = await resolveModule(requested);
    await this.#checkAllowed(module.library);
    return module;
  }

  async #checkAllowed(path: string): Promise<void> {
    if (!this.#options.allowed.allows(path)) throw notAllowed(path);
    await checkLibraryFile(path);
  }

  #load(module: ResolvedModule, pin: Buffer, prepared: Child | undefined): Promise<Provider> {
    const options = {
      module,
      keepPin: this.#options.keepPin ?? 0,
      startChild: () => this.#startChild(),
      discard: (child: Child) => this.#discard(child, module.library),
      limits: this.#limits,
      log: this.#log,
    };
    return Provider.load(options, pin, prepared);
  }

  /**
   * Ends a process that has not come to be a provider's. Some libraries reset the card in C_Finalize,
   * which would cost a provider of the same library its login.
   */
  #discard(child: Child, library: string): Promise<void> {
    return this.#isLoaded(library) ? child.abort() : child.close(this.#limits.close);
  }

  #isLoaded(library: string): boolean {
    return this.list().some((provider) => provider.library === library);
  }

  /** A process for a library. Once none is loaded any more, another is made ready for the next. */
  #startChild(): Child {
    const child = this.#spare.take();
    void child.ended.then(() => {
      if (this.#providers.size === 0) this.#spare.keep();
    });
    return child;
  }
}

function allRemoved(): Failure {
  return new Failure("not-loaded", "All providers were removed while this one was being loaded.");
}

function notAllowed(path: string): Failure {
  return new Failure("provider-not-allowed", `This agent may not load ${path}.`);
}
