/** What an agent is made of; handlers get it handed to them. */
import type { FailureReason } from "../protocol/extensions/failure-reason.ts";
import type { FingerprintHash } from "../protocol/public-key.ts";
import { ConnectionMemory } from "./connection-memory.ts";
import type { AuthenticatorParts } from "./fido/authenticator.ts";
import type { Clock, WallClock } from "./host/clock.ts";
import { IdleCollection, type MemoryCalls } from "./host/garbage.ts";
import type { PeerCredentials } from "./host/libc.ts";
import { describeIdentity, type KeyringIdentity } from "./identity.ts";
import { Keyring, type Removal } from "./keyring.ts";
import type { SoftwareKeyParts } from "./keys/software-key.ts";
import { AgentLock } from "./lock.ts";
import type { PinPromptBackoff } from "./pkcs11/pin-prompt.ts";
import type { PreparedProvider } from "./pkcs11/prepared-provider.ts";
import type { ProviderRegistry } from "./pkcs11/registry.ts";
import type { Ask } from "./policy/confirm.ts";
import type { Person } from "./policy/notice.ts";
import { PromptQueue } from "./policy/prompts.ts";
import type { SessionBindings } from "./policy/session.ts";

/** What the options of `ssh-agent` set. */
export interface AgentSettings {
  /** `-t`: seconds that identities live for when their request does not say; undefined for ever. */
  readonly defaultLifetime: number | undefined;
  /**
   * `-O certificate-grace`: seconds that certificates stay after their end; undefined with
   * `-O keep-ended-certificates`, for ever.
   */
  readonly certificateGrace: number | undefined;
  /** `-O allow-remote-pkcs11`. */
  readonly allowRemotePkcs11: boolean;
  /**
   * `-O websafe-allow`: a list of patterns for the applications of FIDO keys that may sign anything;
   * other FIDO keys sign only what looks like SSH's own data. Undefined: all may sign anything.
   */
  readonly websafeAllow: string | undefined;
  /** `-E`: the fingerprints in questions and in the log. */
  readonly fingerprintHash: FingerprintHash;
}

/** What an agent needs of the world. */
export interface AgentParts {
  readonly settings: AgentSettings;
  readonly providers: ProviderRegistry;
  readonly authenticators: AuthenticatorParts;
  readonly person: Person;
  readonly ask: Ask;
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly memoryCalls: MemoryCalls;
  readonly softwareKeys: SoftwareKeyParts;
  /** Gets a line for each thing that happens; no line ever holds a secret. */
  readonly log: (line: string) => void;
}

const removedWords: Readonly<Record<Removal, string>> = {
  request: "removed",
  lifetime: "removed after its lifetime",
  ended: "dropped after its end",
};

/** An agent: its keys, its providers, its lock. */
export class Agent {
  readonly settings: AgentSettings;
  readonly keyring: Keyring;
  readonly providers: ProviderRegistry;
  readonly lock: AgentLock;
  readonly connectionMemory: ConnectionMemory;
  readonly idleCollection: IdleCollection;
  readonly softwareKeys: SoftwareKeyParts;
  readonly authenticators: AuthenticatorParts;
  readonly person: Person;
  readonly ask: Ask;
  /** What `ask` and `person` are asked by way of. */
  readonly prompts = new PromptQueue();
  readonly clock: Clock;
  readonly wallClock: WallClock;
  readonly log: (line: string) => void;

  constructor(parts: AgentParts) {
    this.settings = parts.settings;
    this.providers = parts.providers;
    this.authenticators = parts.authenticators;
    this.person = parts.person;
    this.ask = parts.ask;
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
    this.keyring = new Keyring(parts.clock, parts.wallClock, (identity, removal) =>
      this.#onRemoved(identity, removal),
    );
  }

  /** Removes every identity and unloads every provider. */
  async removeEverything(): Promise<void> {
    this.keyring.clear();
    this.prompts.recheck();
    await this.providers.removeAll();
  }

  /** A provider whose last key is gone is of no use: its library is unloaded. */
  #onRemoved(identity: KeyringIdentity, removal: Removal): void {
    this.log(`${removedWords[removal]} ${describeIdentity(identity)}`);
    this.prompts.recheck();
    const provider = identity.provider && this.providers.get(identity.provider);
    if (!provider || this.keyring.hasKeyOf(provider.path)) return;
    void this.providers.unload(provider);
  }
}

/** What the agent keeps for one connection. */
export interface ConnectionState {
  /** Who is at the other end; undefined where the system does not tell. */
  readonly peer: PeerCredentials | undefined;
  readonly bindings: SessionBindings;
  /** Why the last request that failed did. */
  lastFailure: FailureReason | undefined;
  /** The cards whose PIN was asked for in vain. */
  readonly pinBackoff: PinPromptBackoff;
  /** What was prepared for a provider that is about to be added. */
  prepared: PreparedProvider | undefined;
  /** Whether the connection is closed. */
  isClosed: boolean;
  /**
   * Aborted, with `clientGone`, when the connection is closed or the client sends no more: nobody is
   * asked anything for it from then on.
   */
  readonly gone: AbortSignal;
}
