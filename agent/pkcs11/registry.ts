/** The PKCS#11 providers that the agent has loaded. */

import { isPkcs11Uri } from "../../openssh/pkcs11-uri.ts";
import type { Variable } from "../../protocol/extensions/prepare-provider.ts";
import { Failure } from "../../protocol/failure.ts";
import type { Command } from "../host/program.ts";
import type { AllowedProviders } from "../policy/allowed-providers.ts";
import { Child, defaultLimits, type ProviderLimits } from "./child-process.ts";
import { checkLibraryFile } from "./library-file.ts";
import { canonicalPath, type ResolvedModule, resolveModule } from "./module-uri.ts";
import { Provider } from "./provider.ts";
import { matchProviders, type ProviderMatch } from "./provider-match.ts";
import { SpareChild, type SpareTimes } from "./spare-child.ts";
import type { IdleRelease } from "./supervisor.ts";

/** Options of a registry. */
export interface RegistryOptions {
  /** The libraries that may be loaded. */
  readonly allowed: AllowedProviders;
  /** How a provider's child process is started. */
  readonly child: Command;
  /** Overrides of the default limits. */
  readonly limits?: Partial<ProviderLimits>;
  /** Seconds that a token's PIN is cached for reconnecting; by default 0, for not at all. */
  readonly keepPin?: number;
  /** Gives tokens back that nobody uses; undefined for never. */
  readonly idle?: IdleRelease | undefined;
  /** Logs an event of a provider; a line never contains a PIN. */
  readonly log?: (line: string) => void;
  /** Passes the libraries' own messages to the agent's standard error. */
  readonly showModuleMessages?: boolean;
  /** When to start a child process ahead of time; undefined for never. */
  readonly spareTimes?: SpareTimes;
}

/** A process that has started a library ahead of the request to add it. */
export interface PreparedProvider {
  /** The canonical path of the library. */
  readonly library: string;
  readonly child: Child;
}

/** What else a request to add a provider says. */
export interface AddOptions {
  /** Fingerprints of the keys to find; undefined for all. */
  readonly only?: readonly string[] | undefined;
  /** Returns the process prepared for a library, if there is one. */
  readonly takePrepared?: (library: string) => Child | undefined;
  /** Called just before the provider replaces an older one, which stays if this throws. */
  readonly adopt?: (provider: Provider) => void;
}

/** The loaded providers, by canonical path or URI. */
export class ProviderRegistry {
  readonly #options: RegistryOptions;
  readonly #limits: ProviderLimits;
  readonly #log: (line: string) => void;
  readonly #spare: SpareChild;
  /** Whether a client has used cards. */
  #isUsed = false;
  readonly #providers = new Map<string, Provider>();
  /** The same, in the order of their latest load. */
  readonly #byLoad = new Set<Provider>();
  /** Incremented by `removeAll`, which refuses the loads begun before it. */
  #generation = 0;
  /** Incremented by `forgetPins`. */
  #pinGeneration = 0;

  constructor(options: RegistryOptions) {
    this.#options = options;
    this.#limits = { ...defaultLimits, ...options.limits };
    this.#log = options.log ?? (() => {});
    const { child, showModuleMessages = false, allowed } = options;
    const spareTimes = allowed.allowsAny ? options.spareTimes : undefined;
    this.#spare = new SpareChild(() => new Child(child, showModuleMessages), spareTimes);
  }

  /** Notes that cards are used, and starts a spare process for the first library. */
  noteUse(): void {
    if (this.#isUsed) return;
    this.#isUsed = true;
    this.#spare.keep();
  }

  /**
   * Starts a process and, in it, a library that is about to be added. A failure in the process is
   * ignored here: `add` finds and reports it.
   * @param environment the client's, for the hint of a failure
   * @throws {Failure} malformed, no-such-file, provider-not-allowed, not-a-pkcs11-module
   */
  async prepare(
    requested: string,
    environment: readonly Variable[] = [],
  ): Promise<PreparedProvider> {
    this.noteUse();
    const { library } = await this.#resolve(requested);
    const child = this.#startChild();
    child.serve(library);
    const question = { type: "open", path: library, environment } as const;
    child.ask(question, this.#limits.load, "kill").catch(() => {});
    return { library, child };
  }

  /** Ends a prepared process that was not used. */
  abandon(prepared: PreparedProvider | undefined): void {
    if (prepared !== undefined) void this.#discard(prepared.child, prepared.library);
  }

  /**
   * Loads a library in a new process and finds its keys. A loaded library is replaced only after
   * the new process has succeeded, and keeps its place in the list.
   * @param requested the library's path, or a PKCS#11 URI
   * @param pin UTF-8, empty for none; it is overwritten before this returns
   * @throws {Failure} malformed, no-such-file, provider-not-allowed, not-a-pkcs11-module, no-token,
   *   no-usable-key, key-not-found (none of `only`), pin-required, pin-incorrect, pin-last-try, pin-locked, module-crashed,
   *   module-timeout, not-loaded (after `removeAll` meanwhile)
   */
  async add(
    requested: string,
    pin: Buffer,
    { only, takePrepared, adopt }: AddOptions = {},
  ): Promise<Provider> {
    const [generation, pinGeneration] = [this.#generation, this.#pinGeneration];
    this.noteUse();
    try {
      const module = await this.#resolve(requested);
      const prepared = takePrepared?.(module.library);
      const provider = await this.#load(module, only, pin, prepared);
      if (pinGeneration !== this.#pinGeneration) provider.forgetPins();
      try {
        if (generation !== this.#generation) throw allRemoved();
        adopt?.(provider);
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
   * What a request to remove names: for a path, everything loaded from that library; for a URI, the
   * providers loaded by an equivalent one, or else the keys that it matches.
   * @param requested any path to the library's file; for a deleted file, the path that it was
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
   * Unloads the providers that a path or a URI names as a whole. Their keys and tokens can still be
   * read.
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

  /** The provider with a canonical path or URI. */
  get(path: string): Provider | undefined {
    return this.#providers.get(path);
  }

  /** The providers, in the order of their first load. */
  list(): readonly Provider[] {
    return [...this.#providers.values()];
  }

  /** The providers, the most recently loaded first. */
  lastLoadedFirst(): readonly Provider[] {
    return [...this.#byLoad].reverse();
  }

  /** Overwrites all cached PINs. */
  forgetPins(): void {
    this.#pinGeneration++;
    for (const provider of this.#providers.values()) provider.forgetPins();
  }

  /** Unloads all libraries, including those still loading. */
  async removeAll(): Promise<void> {
    this.#generation++;
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
    const { allowed } = this.#options;
    if (!allowed.allows(path)) {
      const sentence = `This agent may not load ${path}.`;
      throw new Failure("provider-not-allowed", sentence, allowed.hintFor(path));
    }
    await checkLibraryFile(path);
  }

  #load(
    module: ResolvedModule,
    only: readonly string[] | undefined,
    pin: Buffer,
    prepared: Child | undefined,
  ): Promise<Provider> {
    const options = {
      module,
      only,
      keepPin: this.#options.keepPin ?? 0,
      startChild: () => this.#startChild(),
      discard: (child: Child) => this.#discard(child, module.library),
      limits: this.#limits,
      idle: this.#options.idle,
      endIdle: (child: Child) => this.#endIdle(child, module.library),
      log: this.#log,
    };
    return Provider.load(options, pin, prepared);
  }

  /**
   * Ends a process that did not become a provider's. Some libraries reset the card in C_Finalize,
   * which would log out another provider of the same library.
   */
  #discard(child: Child, library: string): Promise<void> {
    return this.#isLoaded(library) ? child.abort() : child.close(this.#limits.close);
  }

  /** Ends the process of a loaded provider, by the same rule. */
  #endIdle(child: Child, library: string): Promise<void> {
    const isShared = this.list().filter((provider) => provider.library === library).length > 1;
    return isShared ? child.abort() : child.close(this.#limits.close);
  }

  #isLoaded(library: string): boolean {
    return this.list().some((provider) => provider.library === library);
  }

  /** A process for a library. When it ends and no provider is left, a spare is started. */
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
