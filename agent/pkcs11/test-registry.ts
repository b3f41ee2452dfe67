/** Providers for tests: their processes run from the sources, and are ended when the test ends. */
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
import { parseAllowedProviders } from "../policy/allowed-providers.ts";
import type { UserInteraction } from "../signer.ts";
import type { ChildCommand, ProviderLimits } from "./child-process.ts";
import { PinPromptBackoff } from "./pin-prompt.ts";
import type { Provider } from "./provider.ts";
import { ProviderRegistry } from "./registry.ts";

/** What differs from a registry that allows everything. */
export interface TestOptions {
  /** Added to the environment of the child processes. */
  readonly env?: Readonly<Record<string, string>>;
  readonly limits?: Partial<ProviderLimits>;
  /** Seconds that a PIN is kept. */
  readonly keepPin?: number;
  readonly allowed?: string;
  readonly log?: (line: string) => void;
}

/** A registry for one test. @param t ava's */
export function makeRegistry(
  t: { teardown(end: () => Promise<void>): void },
  { env = {}, limits = {}, keepPin = 0, allowed = "*", log = () => {} }: TestOptions = {},
): ProviderRegistry {
  const registry = new ProviderRegistry({
    allowed: parseAllowedProviders(allowed),
    child: childFromSources(env),
    // A busy machine must not look like a library that hangs.
    limits: { status: 20_000, ...limits },
    keepPin,
    log,
  });
  t.teardown(() => registry.removeAll());
  return registry;
}

let bundle: string | undefined;

/**
 * A command that runs the child process of this source tree: bundled once for each process of tests, which
 * starts four times as fast as the sources themselves.
 * @param env added to its environment
 */
export function childFromSources(env: Readonly<Record<string, string>> = {}): ChildCommand {
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

/** Nobody to ask for a PIN, or to tell of a card that waits. */
export const nobody: UserInteraction = {
  gone: neverGone(),
  keyName: "key",
  purpose: undefined,
  pinBackoff: new PinPromptBackoff(patientClock()),
  askPin: undefined,
  notify: () => () => {},
};

/** What came of a signature: "garbage" when it does not verify, or the code of the refusal. */
export type Outcome = FailureCode | "signed" | "garbage";

let signed = 0;

/** Has a provider sign, each time something else. */
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

/** What a provider can do now. */
export async function stateOf(provider: Provider): Promise<ProviderState> {
  return (await provider.status()).state;
}

/** A PIN in a buffer of its own, as it comes from a client. */
export function pinOf(text: string): Buffer {
  return Buffer.from(text, "utf8");
}

/** A client that stays, for as many signatures at once as a test wants. */
function neverGone(): AbortSignal {
  const { signal } = new AbortController();
  setMaxListeners(0, signal);
  return signal;
}

/** A clock of somebody who may always be asked again. */
function patientClock(): Clock {
  let now = 0;
  return { now: () => (now += 60_000), after: () => () => {} };
}
