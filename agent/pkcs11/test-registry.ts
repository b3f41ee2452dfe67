/** Providers for tests: run from the sources, without a build, and unloaded when the test ends. */
import { fileURLToPath } from "node:url";
import { parseAllowedProviders } from "../policy/allowed-providers.ts";
import type { ProviderLimits } from "./provider.ts";
import { ProviderRegistry } from "./registry.ts";

/** What differs from a registry that allows everything. */
export interface TestOptions {
  /** Added to the environment of the child processes. */
  readonly env?: Readonly<Record<string, string>>;
  readonly limits?: Partial<ProviderLimits>;
  readonly allowed?: string;
  readonly log?: (line: string) => void;
}

/** A registry for one test. @param t ava's */
export function makeRegistry(
  t: { teardown(end: () => Promise<void>): void },
  { env = {}, limits = {}, allowed = "*", log = () => {} }: TestOptions = {},
): ProviderRegistry {
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const main = fileURLToPath(new URL("helper-main.ts", import.meta.url));
  const registry = new ProviderRegistry({
    allowed: parseAllowedProviders(allowed),
    helper: { file: "/usr/bin/env", args: [...variables, process.execPath, "--import=tsx", main] },
    limits,
    log,
  });
  t.teardown(() => registry.removeAll());
  return registry;
}

/** A PIN in a buffer of its own, as it comes from a client. */
export function pinOf(text: string): Buffer {
  return Buffer.from(text, "utf8");
}
