/** Loads commands on demand. */
import type { Command } from "../context.ts";
import type { Action } from "../options.ts";

type AgentAction = Exclude<Action, "help" | "version">;

const loaders: Readonly<Record<AgentAction, () => Promise<Command>>> = {
  "add-files": async () => (await import("./add-files.ts")).addFiles,
  "remove-files": async () => (await import("./remove-files.ts")).removeFiles,
  "add-card": async () => (await import("./add-card.ts")).addCard,
  "remove-card": async () => (await import("./remove-card.ts")).removeCard,
  "attach-certificates": async () => (await import("./attach-certificates.ts")).attachCertificates,
  list: async () => (await import("./list.ts")).list,
  "list-keys": async () => (await import("./list.ts")).list,
  "list-providers": async () => (await import("./list-providers.ts")).listProviders,
  "write-public-keys": async () => (await import("./write-public-keys.ts")).writePublicKeys,
  query: async () => (await import("./query.ts")).query,
  test: async () => (await import("./test-keys.ts")).testKeys,
  "remove-all": async () => (await import("./remove-all.ts")).removeAll,
  lock: async () => (await import("./lock.ts")).lock,
  unlock: async () => (await import("./lock.ts")).unlock,
  "add-resident": async () => (await import("./add-resident.ts")).addResident,
};

/** The command for an action that needs an agent. */
export function commandFor(action: AgentAction): Promise<Command> {
  return loaders[action]();
}
