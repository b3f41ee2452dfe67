/** The agent and a connection's state, which every handler gets. */
import type { FailureReason } from "../protocol/extensions/failure-reason.ts";
import type { FingerprintHash } from "../protocol/public-key.ts";
import type { CertificateFolder } from "./certificates/certificate-folder.ts";
import { ConnectionMemory } from "./connection-memory.ts";
import type { AuthenticatorParts } from "./fido/authenticator.ts";
import type { Clock, WallClock } from "./host/clock.ts";
import { IdleCollection, type MemoryCalls } from "./host/garbage.ts";
import type { PeerCredentials } from "./host/kernel.ts";
import { describeIdentity, type KeyringIdentity } from "./identity.ts";
import { Keyring, type Removal } from "./keyring.ts";
import type { SoftwareKeyParts } from "./keys/software-key.ts";
import { AgentLock } from "./lock.ts";
import type { PinPromptBackoff } from "./pkcs11/pin-prompt.ts";
import type { PreparedProvider, ProviderRegistry } from "./pkcs11/registry.ts";
import type { Prompter } from "./policy/prompter.ts";
import { PromptQueue } from "./policy/prompts.ts";
import type { SessionBindings } from "./policy/session.ts";
import { type RenewalParts, Renewals } from "./renewal/renewals.ts";
import type { ClientUpstreams, Upstreams } from "./upstream/upstreams.ts";

/** Settings by options of `ssh-agent`. */
export interface AgentSettings {
  /** `-t`: seconds that identities live for by default; undefined for ever. */
  readonly defaultLifetime: number | undefined;
  /**
   * `-O certificate-grace`: seconds that certificates stay after they expire; undefined, with
   * `-O keep-ended-certificates`, for ever.
   */
  readonly certificateGrace: number | undefined;
  /** `-O allow-remote-pkcs11`. */
  readonly allowRemotePkcs11: boolean;
  /**
   * `-O websafe-allow`: patterns of the applications whose FIDO keys may sign any data; other FIDO keys
   * sign only SSH's own data. Undefined if all may sign any data.
   */
  readonly websafeAllow: string | undefined;
  /** `-E`: the hash of fingerprints in prompts and in the log. */
  readonly fingerprintHash: FingerprintHash;
}

/** What an agent is made of; tests replace some parts. */
interface AgentParts {
  readonly settings: AgentSettings;
  readonly providers: ProviderRegistry;
  readonly upstreams: Upstreams;
  readonly authenticators: AuthenticatorParts;
  readonly prompter: Prompter;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly memoryCalls: MemoryCalls;
  readonly softwareKeys: SoftwareKeyParts;
  /** `-O renew`; undefined without it. */
  readonly renewal: RenewalParts | undefined;
  /** Writes a line to the log. Lines never contain a secret. */
  readonly log: (line: string) => void;
}

const removedWords: Readonly<Record<Removal, string>> = {
  request: "removed",
  lifetime: "expired",
  ended: "dropped after the certificate expired",
};

/** An agent: its keys, providers and lock. */
export class Agent {
  readonly settings: AgentSettings;
  readonly keyring: Keyring;
  readonly providers: ProviderRegistry;
  readonly upstreams: Upstreams;
  readonly lock: AgentLock;
  readonly connectionMemory: ConnectionMemory;
  readonly idleCollection: IdleCollection;
  readonly softwareKeys: SoftwareKeyParts;
  readonly renewals: Renewals;
  readonly authenticators: AuthenticatorParts;
  readonly prompter: Prompter;
  /** Shows the prompts of `prompter` one at a time. */
  readonly prompts = new PromptQueue();
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly log: (line: string) => void;
  /** `-O certificates`; undefined without it. */
  certificateFolder: CertificateFolder | undefined;

  constructor(parts: AgentParts) {
    this.settings = parts.settings;
    this.providers = parts.providers;
    this.upstreams = parts.upstreams;
    this.authenticators = parts.authenticators;
    this.prompter = parts.prompter;
    this.clock = parts.clock;
    this.wallClock = parts.wallClock;
    this.softwareKeys = parts.softwareKeys;
    this.log = parts.log;
    this.lock = new AgentLock(parts.clock);
    this.connectionMemory = new ConnectionMemory(parts.clock);
    this.idleCollection = new IdleCollection(
      parts.clock,
      parts.memoryCalls,
      () => this.connectionMemory.total,
    );
    this.keyring = new Keyring(
      parts.clock,
      parts.wallClock,
      (identity, removal) => this.#onRemoved(identity, removal),
      () => this.renewals.update(),
    );
    this.renewals = new Renewals(parts.renewal, this);
  }

  /** Prepares for a signature that is likely to be asked for soon, once the current reply is sent. */
  expectSignature(): void {
    setImmediate(() => {
      if (!this.lock.isLocked) this.softwareKeys.openKeys.openLastUsed();
    });
  }

  /** Removes every identity and unloads every provider. */
  async removeEverything(): Promise<void> {
    this.keyring.clear();
    this.renewals.clear();
    this.prompts.recheck();
    await this.providers.removeAll();
  }

  /** Logs a removal, and unloads the provider when its last key is gone. */
  #onRemoved(identity: KeyringIdentity, removal: Removal): void {
    this.log(`${removedWords[removal]} ${describeIdentity(identity)}`);
    this.prompts.recheck();
    const provider = identity.provider && this.providers.get(identity.provider);
    if (!provider || this.keyring.hasKeyOf(provider.path)) return;
    void this.providers.unload(provider);
  }
}

/** The state of one connection. */
export interface ConnectionState {
  /** The client's process and user; undefined if the system does not tell. */
  readonly peer: PeerCredentials | undefined;
  readonly bindings: SessionBindings;
  readonly upstreams: ClientUpstreams;
  /** Why the last failed request failed. */
  lastFailure: FailureReason | undefined;
  /** The tokens whose PIN prompt the user has not answered. */
  readonly pinBackoff: PinPromptBackoff;
  /** The process prepared for a provider that is about to be added. */
  prepared: PreparedProvider | undefined;
  isClosed: boolean;
  /**
   * Aborted, with `clientGone`, at the client's end of input or when the connection closes: prompts for
   * it are then cancelled.
   */
  readonly gone: AbortSignal;
}
