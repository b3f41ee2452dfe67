/**
 * Compares this project's `ssh-agent` and `ssh-add` with the system's. The two sides take turns, so that
 * other load on the machine affects both.
 */
import type { PrivateKey } from "../protocol/private-key.ts";
import { decodePublicKey, encodePublicKey, keyTypeName } from "../protocol/public-key.ts";
import {
  endAgent,
  forEachSide,
  type Pair,
  type RunningAgent,
  startAgent,
  startRelay,
} from "./agents.ts";
import { makeEcdsaKey, makeEd25519Key, makeRsaKey, makeToken, type Token } from "./keys.ts";
import { measureCardMemory, measureMemory } from "./memory.ts";
import { type BenchOptions, parseOptions, type Subject, usage } from "./options.ts";
import {
  type LoadScenario,
  measureCardLoad,
  measureFirstAnswer,
  measureList,
  measureStart,
  measureUpstreamList,
  type ProcessResult,
} from "./processes.ts";
import { describeResults, type Results, writeResults } from "./report.ts";
import { bundleProgram, makeLoadProgram, measureSigning, type SigningResult } from "./signing.ts";
import { makeWorkspace, type Workspace } from "./workspace.ts";

const fileKeys: readonly { subject: Subject; name: string; make: () => PrivateKey }[] = [
  { subject: "rsa", name: "RSA-3072", make: makeRsaKey },
  { subject: "ecdsa", name: "ECDSA P-256", make: makeEcdsaKey },
  { subject: "ed25519", name: "Ed25519", make: makeEd25519Key },
];

/** The keys on a token; `type` is as in the output of `ssh-add -l`. */
const cardKeys: readonly { subject: Subject; name: string; type: string }[] = [
  { subject: "card-rsa", name: "RSA-2048 on SoftHSM", type: "RSA" },
  { subject: "card-ecdsa", name: "P-256 on SoftHSM", type: "ECDSA" },
];

async function main(): Promise<void> {
  const options = parseOptions(process.argv.slice(2));
  if (options === undefined) {
    process.stdout.write(usage);
    return;
  }
  const workspace = makeWorkspace();
  // The handler of "exit" in workspace.ts stops the agents.
  for (const signal of ["SIGINT", "SIGTERM"] as const)
    process.once(signal, () => process.exit(130));
  try {
    const results = await measureAll(workspace, options);
    const { subjects, ...settings } = options;
    const path = writeResults(results, { subjects: [...subjects], ...settings });
    process.stdout.write(`\n${describeResults(results)}\nall figures: ${path}\n`);
  } finally {
    await workspace.end();
  }
}

async function measureAll(workspace: Workspace, options: BenchOptions): Promise<Results> {
  const wants = (...subjects: Subject[]) => subjects.some((name) => options.subjects.has(name));
  const results: Results = { signing: [], processes: [], memory: [] };
  if (wants("rsa", "ecdsa", "ed25519")) {
    results.signing.push(...(await measureFileKeys(workspace, options)));
  }
  if (wants("card-rsa", "card-ecdsa", "card-load", "card-memory")) {
    await measureCard(workspace, options, results);
  }
  if (wants("list")) results.processes.push(await measureListing(workspace, options));
  if (wants("start")) {
    note("ssh-agent");
    results.processes.push(await measureStart(workspace, options.runs));
    results.processes.push(await measureFirstAnswer(workspace, options.runs));
  }
  if (wants("upstream")) await measureUpstream(workspace, options, results);
  if (wants("memory")) {
    note("memory");
    results.memory.push(...(await measureMemory(workspace, options.manyKeys)));
  }
  return results;
}

async function measureFileKeys(
  workspace: Workspace,
  options: BenchOptions,
): Promise<SigningResult[]> {
  const load = await makeLoadProgram(workspace);
  return withAgents(workspace, async (agents) => {
    const results: SigningResult[] = [];
    for (const { subject, name, make } of fileKeys) {
      if (!options.subjects.has(subject)) continue;
      note(name);
      const key = make();
      await addToBoth(agents, key);
      const blob = encodePublicKey(key.publicKey);
      results.push(...(await measureSigning(name, agents, blob, load, options)));
    }
    return results;
  });
}

/** A script just after it has started the agent, a script later on, and a user who types quickly. */
const loads: readonly LoadScenario[] = [
  { name: "ssh-add -s, PIN from a program", typing: 0, isIdle: false },
  { name: "the same, agent long idle", typing: 0, isIdle: true },
  { name: "PIN typed, agent long idle", typing: 0.5, isIdle: true },
];

async function measureCard(
  workspace: Workspace,
  options: BenchOptions,
  results: Results,
): Promise<void> {
  const token = makeToken(workspace);
  if (cardKeys.some(({ subject }) => options.subjects.has(subject))) {
    results.signing.push(...(await measureCardKeys(workspace, token, options)));
  }
  if (options.subjects.has("card-load")) {
    note("ssh-add -s");
    for (const scenario of loads) {
      const load = (agents: Pair<RunningAgent>) =>
        measureCardLoad(workspace, agents, token, options.runs, scenario);
      results.processes.push(await withAgents(workspace, load));
    }
  }
  if (options.subjects.has("card-memory")) {
    note("memory of a token's process");
    results.memory.push(...(await measureCardMemory(workspace, token)));
  }
}

async function measureCardKeys(
  workspace: Workspace,
  { library, pin }: Token,
  options: BenchOptions,
): Promise<SigningResult[]> {
  const load = await makeLoadProgram(workspace);
  return withAgents(workspace, async (agents) => {
    await forEachSide((side) => agents[side].client.addSmartcardKey(library, Buffer.from(pin)));
    const results: SigningResult[] = [];
    for (const { subject, name, type } of cardKeys) {
      if (!options.subjects.has(subject)) continue;
      note(name);
      const blob = await findKey(agents.cardagent, type);
      results.push(...(await measureSigning(name, agents, blob, load, options)));
    }
    return results;
  });
}

function measureListing(workspace: Workspace, options: BenchOptions): Promise<ProcessResult> {
  note("ssh-add -l");
  return withAgents(workspace, async (agents) => {
    for (const { make } of fileKeys) await addToBoth(agents, make());
    return measureList(workspace, agents, options.runs);
  });
}

/**
 * Compares the system's agent behind this project's with the same agent by itself, and behind a program
 * that only copies bytes.
 */
async function measureUpstream(
  workspace: Workspace,
  options: BenchOptions,
  results: Results,
): Promise<void> {
  note("an upstream agent");
  const system = await startAgent(workspace, "system");
  const cardagent = await startAgent(workspace, "cardagent", ["-O", `upstream=${system.socket}`]);
  const agents = { cardagent, system };
  const relay = await startRelay(workspace, await bundleProgram(workspace, "relay"), system);
  const load = await makeLoadProgram(workspace);
  for (const { name, make } of fileKeys) {
    const key = make();
    await system.client.addIdentity(key, "benchmark");
    const blob = encodePublicKey(key.publicKey);
    for (const [what, front] of [
      ["an upstream", cardagent],
      ["a relay of bytes", relay],
    ] as const) {
      const pair = { cardagent: front, system };
      const named = `${name} through ${what}`;
      results.signing.push(...(await measureSigning(named, pair, blob, load, options)));
    }
  }
  await endAgent(relay);
  results.processes.push(await measureUpstreamList(workspace, agents, options.runs));
  await forEachSide((side) => endAgent(agents[side]));
}

/** Calls `action` with an agent of each side, and stops them. */
async function withAgents<Value>(
  workspace: Workspace,
  action: (agents: Pair<RunningAgent>) => Promise<Value>,
): Promise<Value> {
  const agents = await forEachSide((side) => startAgent(workspace, side));
  const value = await action(agents);
  await forEachSide((side) => endAgent(agents[side]));
  return value;
}

/** Reports progress on standard error. */
function note(what: string): void {
  process.stderr.write(`measuring ${what}\n`);
}

async function addToBoth(agents: Pair<RunningAgent>, key: PrivateKey): Promise<void> {
  await forEachSide((side) => agents[side].client.addIdentity(key, "benchmark"));
}

async function findKey(agent: RunningAgent, type: string): Promise<Buffer> {
  for (const { keyBlob } of await agent.client.identities()) {
    const key = decodePublicKey(keyBlob);
    if (key !== undefined && keyTypeName(key) === type) return keyBlob;
  }
  throw new Error(`The agent lists no key of the type ${type}.`);
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(1);
});
