/** Providers for tests: their processes run from the sources, and end with the test. */
import { setMaxListeners } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildSync } from "esbuild";
import { projectRoot } from "../../fixtures/programs.ts";
import type { ProviderState } from "../../protocol/extensions/list-providers.ts";
import { Failure, type FailureCode } from "../../protocol/failure.ts";
import { signatureFlags } from "../../protocol/numbers.ts";
import { decodePublicKey } from "../../protocol/public-key.ts";
import { signatureAlgorithm } from "../../protocol/signature.ts";
import { verifySignature } from "../../protocol/verification.ts";
import type { Clock } from "../host/clock.ts";
import type { Command } from "../host/program.ts";
import { parseAllowedProviders } from "../policy/allowed-providers.ts";
import type { UserInteraction } from "../signer.ts";
import { makeUpstreams } from "../upstream/test-upstreams.ts";
import type { ProviderLimits } from "./child-process.ts";
import { PinPromptBackoff } from "./pin-prompt.ts";
import type { Provider } from "./provider.ts";
import { ProviderRegistry } from "./registry.ts";
import type { IdleRelease } from "./supervisor.ts";

/** Differences from a registry that allows everything. */
export interface TestOptions {
  /** Added to the environment of the child processes. */
  readonly env?: Readonly<Record<string, string>>;
  readonly limits?: Partial<ProviderLimits>;
  /** Seconds that a PIN is cached. */
  readonly keepPin?: number;
  readonly idle?: IdleRelease;
  readonly allowed?: string;
  readonly log?: (line: string) => void;
}

/** A registry for one test. @param t ava's */
export function makeRegistry(
  t: { teardown(end: () => Promise<void>): void },
  { env = {}, limits = {}, keepPin = 0, idle, allowed = "*", log = () => {} }: TestOptions = {},
): ProviderRegistry {
  const registry = new ProviderRegistry({
    allowed: parseAllowedProviders(allowed),
    child: childFromSources(env),
    // A busy machine must not look like a library that hangs.
    limits: { status: 20_000, ...limits },
    keepPin,
    idle,
    log,
  });
  t.teardown(() => registry.removeAll());
  return registry;
}

let bundle: string | undefined;

/**
 * A command that runs the child process of this source tree. It is bundled once per test process,
 * which starts four times as fast as the sources.
 * @param env added to its environment
 */
export function childFromSources(env: Readonly<Record<string, string>> = {}): Command {
  bundle ??= makeBundle();
  const variables = { NODE_PATH: join(projectRoot, "node_modules"), ...env };
  const assignments = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  return { file: "/usr/bin/env", args: [...assignments, process.execPath, bundle] };
}

function makeBundle(): string {
  const folder = mkdtempSync(join(tmpdir(), "ca-child-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const outfile = join(folder, "pkcs11-child.js");
  buildSync({
    entryPoints: [fileURLToPath(new URL("./child/main.ts", import.meta.url))],
    outfile,
    bundle: true,
    platform: "node",
    format: "cjs",
    packages: "external",
    define: { "import.meta.url": "__filename" },
    logLevel: "error",
  });
  return outfile;
}

/** No user: no PIN prompt, no notices. */
export const noUser: UserInteraction = {
  gone: neverGone(),
  keyName: "key",
  purpose: undefined,
  upstreams: makeUpstreams().forClient(),
  pinBackoff: new PinPromptBackoff(leapingClock()),
  askPin: undefined,
  notify: () => () => {},
};

/** The result of signing: "garbage" for an invalid signature, or the code of the failure. */
export type Outcome = FailureCode | "signed" | "garbage";

let signed = 0;

/** Signs with a provider, each time other data. */
export async function signWithKey(
  provider: Provider,
  keyBlob: Buffer,
  interaction: UserInteraction,
): Promise<Outcome> {
  const publicKey = decodePublicKey(keyBlob);
  if (publicKey === undefined) throw new Error("a key blob cannot be read");
  const data = Buffer.from(`what is signed, ${++signed}`);
  const algorithm = signatureAlgorithm(publicKey, signatureFlags.rsaSha256);
  try {
    const signature = await provider.sign(keyBlob, algorithm, data, interaction);
    return verifySignature(publicKey, signature, data) ? "signed" : "garbage";
  } catch (error) {
    if (error instanceof Failure) return error.code;
    throw error;
  }
}

/** The state of a provider. */
export async function stateOf(provider: Provider): Promise<ProviderState> {
  return (await provider.status()).state;
}

/** A PIN in a buffer of its own, as it comes from a client. */
export function pinOf(text: string): Buffer {
  return Buffer.from(text, "utf8");
}

/** A client that never disconnects, with as many concurrent signatures as a test needs. */
function neverGone(): AbortSignal {
  const { signal } = new AbortController();
  setMaxListeners(0, signal);
  return signal;
}

/** A clock by which the pause between prompts is always over. */
function leapingClock(): Clock {
  let now = 0;
  return { now: () => (now += 60_000), after: () => () => {} };
}
